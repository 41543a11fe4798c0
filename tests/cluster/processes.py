"""Programs of a cluster: started with a log each, waited for with a bound, ended in order."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time


def need_program(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise RuntimeError(f"{name} is missing: hack/setup cluster")
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(condition, seconds, what, alive=()):
    """The first true value of condition(); what says in the error what did not come, alive which programs must go on running."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        for program in alive:
            program.must_run()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what() if callable(what) else what}: not after {seconds} s")
        time.sleep(0.1)


class Program:
    """One process in a session of its own, so that a signal to the test does not reach it first."""

    def __init__(self, name, arguments, directory, environment=None):
        self.name = name
        self.log = pathlib.Path(directory) / f"{name}.log"
        self.command = [need_program(arguments[0]), *map(str, arguments[1:])]
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                                            start_new_session=True)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def tail(self, lines=20):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def must_run(self):
        if not self.running():
            raise RuntimeError(f"{self.name} ended with status {self.process.returncode}:\n{self.tail()}")

    def stop(self, seconds=20, sig=signal.SIGTERM):
        if self.running():
            self.process.send_signal(sig)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
