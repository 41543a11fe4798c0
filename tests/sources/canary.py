"""Looks for every planted secret (servers/canaries.py) wherever one could get out: logs of the plugins, messages that clients saw, metrics,
state and share with their file names, command lines and environments of processes. Each is looked for as it is, in percent-encoding and in
base64 as well. What a core file would hold is told, too, though there is none (test_canary.py): credentials are kept for as long as they
are good."""

import base64
import contextlib
import os
import pathlib
import subprocess
import tempfile
import threading
import urllib.parse

import canaries
import harness

PAUSE = 0.1
# What tests put there themselves, and volumes, whose contents are the tests'.
NOT_OURS = ("kubelet", "classes")


def spellings(text):
    """The forms in which a secret can show; of one with several lines (a key in PEM), each line."""
    for line in text.splitlines() or [text]:
        if len(line) < canaries.SHORTEST or line.startswith("-----"):
            continue
        yield line
        yield urllib.parse.quote(line, safe="")
        yield urllib.parse.quote(line)
        for shift in range(3):
            # Without the characters that depend on what stands before and after it.
            coded = base64.b64encode(bytes(shift) + line.encode())
            yield coded[(shift * 8 + 5) // 6:len(coded) - 4].decode()


def patterns():
    """{spelling: kind}"""
    return {each: kind for text, kind in canaries.planted().items() for each in spellings(text)}


def find(known, *arguments, data=None):
    """What grep finds of the known spellings: {(kind, where)}."""
    with tempfile.NamedTemporaryFile("w", dir="/dev/shm") as file:
        file.write("\n".join(known) + "\n")
        file.flush()
        done = subprocess.run(["grep", "-aoFH", "--null", "-D", "skip", "-f", file.name, *arguments], input=data, capture_output=True, timeout=300, check=False)
    harness.need(done.returncode in (0, 1), f"grep: {done.returncode} {done.stderr[-300:]}")
    found = set()
    for line in done.stdout.decode(errors="replace").splitlines():
        where, _, text = line.partition("\0")
        found.add((known.get(text, "?"), where))
    return found


def in_data(known, where, data):
    return {(kind, where) for kind, _ in find(known, "-", data=data)}


def in_directory(known, directory):
    excluded = [f"--exclude-dir={name}" for name in NOT_OURS]
    names = "\n".join(str(path) for path in pathlib.Path(directory).rglob("*") if not set(NOT_OURS) & set(path.parts))
    return find(known, "-r", *excluded, str(directory)) | in_data(known, f"names below {directory}", names.encode())


def writable_memory(pid):
    """Everything that a core file of this process would hold."""
    parts = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            area, rights, *_ = line.split()
            if "w" in rights:
                first, last = (int(number, 16) for number in area.split("-"))
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    memory.seek(first)
                    parts.append(memory.read(last - first))
    return b"\n".join(parts)


class Sampler:
    """Command lines of all processes and environments of the plugins' own, as they were seen while the suite ran."""

    def __init__(self):
        self.command_lines, self.environments, self.rounds = set(), set(), 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ending.wait(PAUSE):
            for entry in pathlib.Path("/proc").iterdir():
                if entry.name.isdigit():
                    with contextlib.suppress(OSError):
                        self.look(entry)
            self.rounds += 1

    def look(self, entry):
        self.command_lines.add((entry / "cmdline").read_bytes())
        if os.path.basename(os.readlink(entry / "exe")).startswith("sharedcache"):
            self.environments.add((entry / "environ").read_bytes())

    def stop(self):
        self.ending.set()
        self.thread.join()


class Canary:
    def __init__(self, world):
        self.world, self.sampler, self.found = world, Sampler(), set()

    def while_running(self):
        """What can be asked of a plugin only while it runs."""
        known = patterns()
        for path in ("metrics", "healthz", "readyz"):
            done = subprocess.run(["curl", "-s", f"{self.world.http_url}/{path}"], capture_output=True, timeout=30, check=True)
            harness.need(done.stdout, f"nothing at /{path}")
            self.found |= in_data(known, f"/{path}", done.stdout)
        node = self.world.node
        for name, pid in {"node": node.process.pid, **node.children()}.items():
            kinds = sorted({kind for kind, _ in in_data(known, "memory", writable_memory(pid))})
            harness.log(f"# in the memory of the {name}, of which there is no core file: {', '.join(kinds) or 'no canary'}")

    def afterwards(self):
        self.sampler.stop()
        known = patterns()
        for plugin in harness.Plugin.everyone:
            self.found |= in_directory(known, plugin.dir)
        self.found |= in_directory(known, harness.WORK / "share")
        messages = "\n".join(f"{name}: {code}: {message}" for name, code, message in list(harness.ERRORS))
        self.found |= in_data(known, "messages", messages.encode())
        self.found |= in_data(known, "command lines", b"\n".join(self.sampler.command_lines))
        self.found |= in_data(known, "environments", b"\n".join(self.sampler.environments))

    def not_one(self, _):
        """The test at the end of the suite."""
        kinds = set(canaries.planted().values())
        harness.log(f"# canaries: {len(canaries.planted())} secrets of {len(kinds)} kinds ({', '.join(sorted(kinds))}), {len(harness.ERRORS)} messages, "
                    f"{len(harness.Plugin.everyone)} plugins, {len(self.sampler.command_lines)} command lines in {self.sampler.rounds} rounds")
        harness.need(self.sampler.environments and self.sampler.rounds, "no plugin's environment was seen")
        harness.need(not self.found, "; ".join(f"{kind} in {where}" for kind, where in sorted(self.found))[:800])
