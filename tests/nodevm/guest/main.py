#!/usr/bin/python3
"""Runs the cases in the guest. Usage: main.py KERNEL REPORT BINARY PROTO PATTERN..."""

import contextlib
import fnmatch
import os
import sys
import time

sys.dont_write_bytecode = True

import cases_outage
import cases_plain
import cases_publish
import cases_restart
import cases_unit
import machine
import servers
from report import Report

GROUPS = [cases_plain, cases_unit, cases_publish, cases_restart, cases_outage]


class World:
    """Everything that cases share."""

    shares = ("nfs3", "nfs41", "smb")

    def __init__(self, kernel, binary, report):
        self.kernel, self.binary, self.report = kernel, binary, report
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


def run_group(cases, patterns, report):
    """cases is a generator: it hears of each of its cases whether it passed, so that it can leave out what would be in vain."""
    passed = None
    with contextlib.suppress(StopIteration):
        while True:
            case = cases.send(passed)
            passed = report.run(case) if any(fnmatch.fnmatch(case.name, p) for p in patterns) else True


def main():
    kernel, report_path, binary = sys.argv[1:4]
    patterns = sys.argv[5:]
    report = Report(report_path, kernel)
    world = World(kernel, binary, report)
    for module in GROUPS:
        run_group(module.cases(world), patterns, report)
    report.end()
    return 1 if report.failed else 0


sys.exit(main())
