#!/usr/bin/python3
"""Runs the cases in the guest. Usage: main.py KERNEL REPORT BINARY [PATTERN]"""

import fnmatch
import os
import sys
import time

sys.dont_write_bytecode = True

import cases_plain
import machine
import servers
from report import Report

MODULES_OF_CASES = [cases_plain]


class World:
    """Everything that cases share."""

    shares = ("nfs3", "nfs41", "smb")

    def __init__(self, kernel, binary):
        self.kernel, self.binary = kernel, binary
        self.scratch = os.environ["SCRATCH"]
        started = time.monotonic()
        step = lambda name: print(f"{time.monotonic() - started:6.2f} s {name}", flush=True)
        machine.load_modules()
        step("modules")
        self.network = machine.Network()
        step("network")
        self.nfs = servers.Nfs()
        step("nfs")
        self.smb = servers.Smb()
        step("smb")
        self.origin = servers.Origin()
        step("origin")


def main():
    kernel, report_path, binary = sys.argv[1:4]
    pattern = sys.argv[4] if len(sys.argv) > 4 else "*"
    report = Report(report_path, kernel)
    world = World(kernel, binary)
    for module in MODULES_OF_CASES:
        for case in module.cases(world):
            if fnmatch.fnmatch(case.name, pattern):
                report.run(case)
    report.end()
    return 1 if report.failed else 0


sys.exit(main())
