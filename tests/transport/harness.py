"""What the transport tests stand on: the test server as a process of its own, and a list of tests."""

import contextlib
import faulthandler
import os
import pathlib
import resource
import select
import signal
import subprocess
import sys
import time

# tests/supervised asks for it when a suite hangs.
faulthandler.register(signal.SIGQUIT, all_threads=True)

SERVER = os.environ["SC_TRANSPORT_SERVER"]
WORK = pathlib.Path(os.environ["SC_WORK"])
# Sanitizers keep freed memory for a while: how much a server holds then says nothing finer than this.
MEMORY_FACTOR = 8 if os.environ.get("SC_PRESET") in ("asan", "tsan") else 1
TESTS = []


def test(name):
    def register(function):
        TESTS.append((name, function))
        return function
    return register


def need(condition, text="condition"):
    if not condition:
        raise AssertionError(text() if callable(text) else str(text))


def until(condition, text, timeout=20):
    """Waits for what must come true by itself."""
    end = time.monotonic() + timeout
    while not condition():
        need(time.monotonic() < end, lambda: f"did not happen: {text}")
        time.sleep(0.01)


class Server:
    def __init__(self, name, *arguments, files_max=None):
        self.path = str(WORK / f"{name}.sock")
        limit = ["prlimit", f"--nofile={files_max}"] if files_max else []
        self.process = subprocess.Popen([*limit, SERVER, self.path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        need(ready and self.process.stdout.readline() == b"ready\n", "the server does not start")

    def rss(self):
        """Resident bytes now; in builds with sanitizers a part of them."""
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() // MEMORY_FACTOR

    def private(self):
        """Private anonymous bytes."""
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(rollup.split("Pss_Anon:")[1].split()[0]) * 1024

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def threads(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        need(status == 0, f"the server ended with {status}")

    def kill(self):
        self.process.kill()
        self.process.wait(30)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


@contextlib.contextmanager
def server(name, *arguments, **options):
    """A server for one test; that it ends cleanly is part of the test."""
    running = Server(name, *arguments, **options)
    try:
        yield running
    except BaseException:
        running.kill()
        raise
    running.stop()


def main(words):
    failed = 0
    for name, function in TESTS:
        if words and not any(word in name for word in words):
            continue
        try:
            function()
            print(f"ok {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"not ok {name}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)
