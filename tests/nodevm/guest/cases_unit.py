"""Unit tests again, where their subject meets real servers and other kernels: the store on each share as the
store's uid, the mount layer on this kernel. Their programs take SC_SCRATCH as the place to work in."""

import contextlib
import glob
import os
import shutil

from cases_plain import mount_share, server_path
from machine import run
from report import Case, check
from servers import STORE_UID

ON_SHARES = ("unit_cachecore_test_store", "unit_cachecore_test_store_partial")
ON_KERNEL = ("unit_mount_test_*",)


def _programs(world, patterns):
    directory = f"{os.path.dirname(world.binary)}/tests"
    return [path for pattern in patterns for path in sorted(glob.glob(f"{directory}/{pattern}"))]


def _run(program, place, uid=0):
    copy = shutil.copy(program, "/run")  # the tree may lie where only root gets
    output = run(copy, seconds=100, wanted=None, env=dict(os.environ, SC_SCRATCH=place), user=uid, group=uid, extra_groups=[])
    print(output)
    failed = [line for line in output.splitlines() if "FAILED" in line or "ERROR" in line or ".c:" in line]
    check("PASSED" in output and not failed, " / ".join(failed) or output[-300:])


def _on_share(world, share, program):
    target, place = f"/mnt/unit-{share}", f"/mnt/unit-{share}/unit"
    with contextlib.ExitStack() as stack:
        os.makedirs(f"{server_path(share)}/unit", exist_ok=True)
        os.chown(f"{server_path(share)}/unit", STORE_UID, STORE_UID)
        mount_share(share, target, uid=STORE_UID)
        stack.callback(run, "umount", "-l", target)
        _run(program, place, STORE_UID)


def cases(world):
    for program in _programs(world, ON_SHARES):
        for share in world.shares:
            yield Case(f"unit/{share}/{os.path.basename(program)}", lambda s=share, p=program: _on_share(world, s, p), 120)
    for program in _programs(world, ON_KERNEL):
        yield Case(f"unit/node/{os.path.basename(program)}", lambda p=program: _run(p, "/mnt/node"), 120)
