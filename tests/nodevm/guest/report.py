"""Cases and their results: one line each, as every suite of the project prints them."""

import faulthandler
import re
import signal
import time
import traceback


class Case:
    def __init__(self, name, function, seconds):
        self.name, self.function, self.seconds = name, function, seconds


class Failed(AssertionError):
    pass


def check(condition, message):
    if not condition:
        raise Failed(message)


def same(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def until(condition, seconds, what):
    """Waits until condition() is true and returns its value; the case fails when it is not in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.05)


def _late(_signal, _frame):
    faulthandler.dump_traceback(all_threads=True)
    raise Failed("the case did not end in time")


class Report:
    def __init__(self, path, prefix):
        self.file = open(path, "w", buffering=1)
        self.prefix = prefix
        self.passed = self.failed = 0

    def run(self, case):
        """True when it passed. On failure, detail goes to the console."""
        signal.signal(signal.SIGALRM, _late)
        signal.alarm(case.seconds)
        started = time.monotonic()
        try:
            case.function()
            why = None
        except Exception as error:
            why = f"{type(error).__name__}: {error}" if not isinstance(error, Failed) else str(error)
            traceback.print_exc()
        finally:
            signal.alarm(0)
        self._line(case.name, why, time.monotonic() - started)
        return why is None

    def _line(self, name, why, seconds):
        if why is None:
            self.passed += 1
            line = f"ok {self.prefix}/{name} ({seconds:.1f} s)"
        else:
            self.failed += 1
            line = f"not ok {self.prefix}/{name}: " + re.sub(r"\s+", " ", why)[:600]
        self.file.write(line + "\n")
        print(line, flush=True)

    def note(self, text):
        self.file.write(f"# {self.prefix}: {text}\n")

    def end(self):
        self.file.write("end\n")
