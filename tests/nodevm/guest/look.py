"""Looks at the kernel's and the processes' own records; none of them touches a mounted file system."""

import os
import re
import subprocess
import time


class Mount:
    def __init__(self, line):
        left, right = line.split(" - ", 1)
        fields = left.split(" ")
        self.id = int(fields[0])
        self.device = fields[2]
        self.target = fields[4]
        self.options = fields[5].split(",")
        self.fstype, self.source, super_options = right.split(" ", 2)
        self.super_options = super_options.split(",")


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return [Mount(line.rstrip("\n")) for line in file]


def mounts_below(path):
    return [m for m in mounts() if m.target == path or m.target.startswith(path + "/")]


def share_mounts(below="/"):
    return [m for m in mounts() if m.fstype in ("nfs", "nfs4", "cifs") and m.target.startswith(below)]


def read_ahead_kb(mount):
    with open(f"/sys/class/bdi/{mount.device}/read_ahead_kb", encoding="ascii") as file:
        return int(file.read())


def children(pid):
    """The process and all its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    parents[int(name)] = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    found = [pid] if pid in parents else []
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def command(pid):
    """Its command line; empty once it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class SecretWatch:
    """Collects everything that any user could see of a process while the secret is in use: command lines and the mount table."""

    def __init__(self, secret):
        self.secret, self.seen, self.rounds = secret, set(), 0

    def look(self):
        self.rounds += 1
        with open("/proc/mounts", encoding="utf-8") as file:
            self._judge("/proc/mounts", file.read())
        for name in os.listdir("/proc"):
            if name.isdigit():
                self._judge("a command line", command(name))

    def _judge(self, where, text):
        if self.secret in text:
            self.seen.add(where)


def probe(path, what, seconds=5):
    """stat, statfs, ls or cat of path in a process of its own. (answered in time, output, seconds)."""
    argv = {"stat": ["stat", path], "statfs": ["stat", "-f", path], "ls": ["ls", "-lR", path], "cat": ["cat", path]}[what]
    started = time.monotonic()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return False, "", time.monotonic() - started
    return process.returncode == 0, output.decode(errors="replace"), time.monotonic() - started


def digest(path, seconds=60):
    """SHA-256 of a file, read in a process of its own."""
    done = subprocess.run(["sha256sum", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=seconds, text=True, check=False)
    return done.stdout[:64] if re.match(r"^\\?[0-9a-f]{64} ", done.stdout) else f"error: {done.stderr.strip()}"
