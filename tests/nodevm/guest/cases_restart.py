"""The plugin dies and comes back; pods must not notice. Rows 84, 92 and 93 of the table of faults."""

import glob
import os
import subprocess
import time

import look
from csi import Later
from plugin import SHARES, Plugin
from report import Case, check, same, until

SIZE = 3 << 20
READER = """
import hashlib, os, sys, time
path, wanted, stop = sys.argv[1:4]
rounds = 0
while not os.path.exists(stop):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if hashlib.sha256(file.read()).hexdigest() != wanted:
            sys.exit("wrong bytes")
    rounds += 1
    print(rounds, flush=True)
"""


class Reader:
    """A pod's process that reads a file again and again, from the share where the kernel lets go of its pages."""

    def __init__(self, path, digest, scratch):
        self.stop = f"{scratch}/stop-{os.getpid()}-{time.monotonic_ns()}"
        self.log = open(self.stop + ".log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(["/usr/bin/python3", "-c", READER, path, digest, self.stop], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)

    def rounds(self):
        with open(self.log.name, encoding="utf-8") as file:
            lines = file.read().splitlines()
        return int(lines[-1]) if lines and lines[-1].isdigit() else 0

    def goes_on(self, seconds=20):
        """It reads the whole file at least once more."""
        before = self.rounds()
        until(lambda: self.rounds() > before + 1 or self.process.poll() is not None, seconds, "the reader to go on")
        check(self.process.poll() is None, f"the reader ended: {open(self.log.name, encoding='utf-8').read()[-300:]}")

    def end(self):
        open(self.stop, "w", encoding="ascii").close()
        same(self.process.wait(30), 0, "the reader's exit status")


class Family:
    def __init__(self, world, share, name="restart"):
        self.world, self.share = world, share
        self.plugin = Plugin(world, f"{name}-{share}")
        self.plugin.add_class("direct", share, subPath=f"restart/{share}")
        self.file = f"restart/{share}/data.bin"
        self.digest = world.origin.add(self.file, SIZE)

    def volume(self, pod, name=None, slow=False):
        volume = self.plugin.volume(pod, "direct", self.world.origin.url(name or self.file, slow))
        volume.file = f"{volume.target}/{os.path.basename(name or self.file)}"
        return volume

    def published(self, pod):
        volume = self.volume(pod)
        answer = self.plugin.client.publish(volume)
        check(answer.ok, f"publish: {answer}")
        return volume

    def unpublished(self, volume):
        answer = self.plugin.client.unpublish(volume)
        check(answer.ok, f"unpublish: {answer}")
        same(look.mounts_below(volume.target), [], "mounts left at the target")


def _killed(family, damage=lambda state_dir: None):
    """kill -9 while a pod reads; then the same publish, a new one, and unpublish."""
    plugin = family.plugin.start()
    volume = family.published("reading")
    reader = Reader(volume.file, family.digest, family.world.scratch)
    reader.goes_on()
    mount = look.mounts_below(volume.target)[0]
    plugin.kill()
    reader.goes_on()
    damage(plugin.state_dir)
    started = time.monotonic()
    plugin.start()
    check(time.monotonic() - started < 10, f"ready only after {time.monotonic() - started:.1f} s")
    reader.goes_on()
    answer = plugin.client.publish(volume)  # kubelet repeats the call
    check(answer.ok, f"publish again: {answer}")
    same([m.id for m in look.mounts_below(volume.target)], [mount.id], "the mount at the target")
    other = family.published("newcomer")
    same(look.digest(other.file), family.digest, "digest in the new volume")
    reader.goes_on()
    reader.end()
    family.unpublished(other)
    family.unpublished(volume)
    check(plugin.stop(), "the plugin did not end by itself at SIGTERM")


def _truncate_records(state_dir):
    """row 92: what a power loss may leave of small files."""
    records = glob.glob(f"{state_dir}/volumes/*")
    check(records, "no records to damage")
    for path in records:
        os.truncate(path, 0)


def _killed_in_fill(family):
    """row 84: killed in the middle of a download; the next publish goes on with it and does not fetch everything again."""
    plugin = family.plugin.start()
    name = f"restart/{family.share}/slow.bin"
    size = 2 << 20
    digest = family.world.origin.add(name, size)
    volume = family.volume("filling", name, slow=True)
    call = Later(plugin.client.publish, volume, 60)
    time.sleep(4)  # at 256 KiB/s half of the file: the point is a download that is neither new nor done
    check(call.is_alive(), f"the fill was over too soon: {call.value}")
    plugin.kill()
    plugin.start()
    answer = plugin.client.publish(volume, 60)
    check(answer.ok, f"publish after the restart: {answer}")
    same(look.digest(volume.file), digest, "digest")
    family.unpublished(volume)
    check(plugin.stop(), "the plugin did not end by itself at SIGTERM")


def _fetcher_killed(family):
    """The fetcher dies in the middle of a fill: it is started again, and the same call ends well."""
    plugin = family.plugin.start()
    name = f"restart/{family.share}/fetcher.bin"
    digest = family.world.origin.add(name, 2 << 20)
    volume = family.volume("fetching", name, slow=True)
    call = Later(plugin.client.publish, volume, 60)
    fetcher = until(lambda: [pid for pid in plugin.family() if look.command(pid).split()[1:2] == ["fetcher"]], 10, "a fetcher process")[0]
    time.sleep(3)
    check(call.is_alive(), f"the fill was over too soon: {call.value}")
    os.kill(fetcher, 9)
    check(call.answer().ok, f"publish: {call.answer()}")
    same(look.digest(volume.file), digest, "digest")
    family.unpublished(volume)
    check(plugin.stop(), "the plugin did not end by itself at SIGTERM")


def cases(world):
    for share in SHARES:
        family = Family(world, share)
        yield Case(f"restart/{share}/reader", lambda a=family: _killed(a), 150)
        yield Case(f"restart/{share}/records-lost", lambda a=family: _killed(a, _truncate_records), 150)
        yield Case(f"restart/{share}/in-fill", lambda a=family: _killed_in_fill(a), 150)
    yield Case("restart/nfs41/fetcher", lambda: _fetcher_killed(Family(world, "nfs41", "fetcher")), 150)
