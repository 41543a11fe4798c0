"""How long a pod takes to its container's start: with a volume of 10,000 files that are there already, and with an emptyDir.

The files are 10,000 inputs of a list, so that each pod's publish asks the source 10,000 times what is there now."""

import pathlib
import statistics

from harness import need, test

FILES = 10000
RUNS = 3


def uptime():
    return float(pathlib.Path("/proc/uptime").read_text().split()[0])


def start_seconds(case, name, volume, files):
    """From the request that creates the pod to the first command in its container; both read the kernel's one clock."""
    before = uptime()
    output = case.run(name, "cat /proc/uptime; find /inputs -type f | wc -l", volume, seconds=180)
    started, _, seen = output.split()
    need(int(seen) == files, f"{seen} files, not {files}")
    case.delete_pod(name)
    return float(started) - before


@test("time-to-start-with-10000-files", phase="alone")
def start(world, case):
    names = [f"time/{number // 100:03}/{number:05}" for number in range(FILES)]
    for name in names:
        world.file(name, name.encode())
    text = "".join(f"{world.nginx.url(name)} -> {name[5:]}\n" for name in names)
    warm = {"csi": {**case.inline("")["csi"], "volumeAttributes": {"storageClass": "direct", "inputsFrom": world.file("time/list", text.encode())}}}
    cold = start_seconds(case, "cold", warm, FILES)
    with_files = [start_seconds(case, f"warm-{number}", warm, FILES) for number in range(RUNS)]
    empty = [start_seconds(case, f"empty-{number}", {"emptyDir": {}}, 0) for number in range(RUNS)]
    small_url = world.file("time/one", b"one")
    small = [start_seconds(case, f"one-{number}", case.inline(small_url), 1) for number in range(RUNS)]
    for what, seconds in (("10,000 warm files", with_files), ("one warm file", small), ("an emptyDir", empty)):
        world.notes.append(f"pod creation to container start, {what}: median {statistics.median(seconds):.2f} s, "
                           f"{min(seconds):.2f} to {max(seconds):.2f} s of {RUNS}")
    world.notes.append(f"pod creation to container start, 10,000 cold files: {cold:.2f} s")
