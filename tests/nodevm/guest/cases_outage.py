"""The server is silent: packets from it stop, as with a dead machine. Calls answer in time, nothing hangs for good, all recovers.

Rows 16, 65 to 69 of the table of faults. What is silent, and when, differs; what must hold is always the same."""

import contextlib
import os
import socket
import subprocess
import time

import look
from csi import NON_FINAL, Later
from machine import SERVER, SERVER_NS
from plugin import POLICIES, SHARES, Plugin
from report import Case, check, same, until
from servers import SHARES as SERVER_DIR

RECOVERY = 90  # seconds: TCP's own back-off after a silence is most of it
SIZE = 6 << 20


def answered(answer, seconds, what):
    """The plugin itself answered, in time."""
    check(answer is not None and answer.code != "LATE" and answer.seconds <= seconds, f"{what}: {answer}, wanted within {seconds} s")


def drop_page_cache():
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


class Family:
    """One plugin for the outages of a share type; `local` is a class that no server can hurt."""

    def __init__(self, world, share, name="outage"):
        self.world, self.share, self.name = world, share, name
        self.plugin = Plugin(world, f"{name}-{share}")
        self.digests = {}
        for policy in POLICIES:
            self.plugin.add_class(policy, share, policy, subPath=f"outage/{share}")
        self.plugin.add_class("local", "local")

    def volume(self, pod, storage_class, size=SIZE, slow=False):
        """A volume with one file that no other volume has."""
        name = f"{self.name}/{self.share}/{pod}.bin"
        if name not in self.digests:
            self.digests[name] = self.world.origin.add(name, size)
        volume = self.plugin.volume(f"{self.share}-{pod}", storage_class, self.world.origin.url(name, slow))
        volume.file, volume.digest = f"{volume.target}/{pod}.bin", self.digests[name]
        return volume

    def published(self, *arguments, **more):
        volume = self.volume(*arguments, **more)
        answer = self.plugin.client.publish(volume)
        check(answer.ok, f"publish: {answer}")
        return volume

    def publish_until_ok(self, volume, seconds=RECOVERY):
        """As kubelet does: again and again while the answer is not a final one."""
        end, answer = time.monotonic() + seconds, None
        while time.monotonic() < end:
            answer = self.plugin.client.publish(volume, 30)
            if answer.ok:
                return
            check(answer.code in NON_FINAL, f"a final code while recovering: {answer}")
            time.sleep(0.5)
        raise AssertionError(f"not published {seconds} s after the server came back: {answer}")

    def unpublish(self, volume, seconds=30):
        answer = self.plugin.client.unpublish(volume, seconds + 5)
        answered(answer, seconds, "unpublish")
        check(answer.ok, f"unpublish: {answer}")
        same(look.mounts_below(volume.target), [], "mounts left at the target")
        check(not os.path.lexists(volume.target), "the target is left")

    def partials(self):
        """Partial downloads in the store, by the server's own disk."""
        root = f"{SERVER_DIR}/{'smb' if self.share == 'smb' else 'open'}/outage/{self.share}/incoming"
        return {name for _, _, names in os.walk(root) for name in names if name.endswith(".journal")}


def _alive(family):
    """What must answer whatever the share does."""
    answer = family.plugin.client.probe(5)
    answered(answer, 5, "Probe")
    check(answer.ok, f"Probe: {answer}")


def _view_answers(family):
    """stat, statfs, ls of a live direct view, stats (row 16), and a reader that waits and then goes on."""
    volume = family.published("view", "direct")
    drop_page_cache()
    with family.world.network.silent():
        reader = subprocess.Popen(["sha256sum", volume.file], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        results = {what: look.probe(volume.target, what, 5) for what in ("stat", "statfs", "ls")}
        _alive(family)
        answered(family.plugin.client.stats(volume, 5), 5, "stats")  # row 16
        check(reader.poll() is None, "the reader ended while the server was silent: the outage is none")
    output, _ = reader.communicate(timeout=RECOVERY)
    same(output[:64], volume.digest, "digest read across the outage")
    family.unpublish(volume)
    bad = {what: result for what, result in results.items() if not result[0]}
    if family.world.kernel == "6.1":  # the older form may look at the share; what it does is written down, not judged
        family.world.report.note(f"{family.share}: without an answer from a live view while the server was silent: {sorted(bad) or 'none'}")
    else:
        same(bad, {}, "looks at the live view that got no answer")


def _copy_reads(family):
    """A view of local copies does not notice: every byte is read while the server is silent."""
    volume = family.published("copied", "copy")
    drop_page_cache()
    with family.world.network.silent():
        for what in ("stat", "statfs", "ls"):
            good, _, seconds = look.probe(volume.target, what, 5)
            check(good, f"{what} of a copied view: no answer after {seconds:.1f} s")
        same(look.digest(volume.file, 10), volume.digest, "digest read while the server was silent")
        family.unpublish(volume)


def _local_class_works(family):
    """row 67: other volumes are fine meanwhile."""
    held = family.volume("held", "direct")
    with family.world.network.silent():
        waiting = Later(family.plugin.client.publish, held, 24)
        other = family.volume("local", "local")
        answer = family.plugin.client.publish(other, 20)
        check(answer.ok, f"publish of a volume without a share: {answer}")
        same(look.digest(other.file), other.digest, "digest")
        _alive(family)
        family.unpublish(other)
        answered(waiting.answer(), 24, "publish while the server is silent")
        check(waiting.answer().code in NON_FINAL, f"publish while the server is silent: {waiting.answer()}")
    family.publish_until_ok(held)
    same(look.digest(held.file), held.digest, "digest")
    family.unpublish(held)


def _publish_middle(family, policy):
    """The server falls silent in the middle of a fill."""
    volume = family.volume(f"middle-{policy}", policy, size=2 << 20, slow=True)
    before = family.partials()
    call = Later(family.plugin.client.publish, volume, 14)
    until(lambda: family.partials() - before or not call.is_alive(), 20, "a partial download in the store")
    check(call.is_alive(), f"the fill was over before the server could fall silent: {call.value}")
    with family.world.network.silent():
        answered(call.answer(), 14, "publish")
        check(call.answer().code in NON_FINAL, f"publish: {call.answer()}")
        again = family.plugin.client.publish(volume, 6)
        answered(again, 6, "publish again")
        check(again.code in NON_FINAL, f"publish again: {again}")
        _alive(family)
    family.publish_until_ok(volume)
    same(look.digest(volume.file), volume.digest, "digest")
    family.unpublish(volume)


def _unpublish_middle(family):
    """row 68: unpublish of a live view with a reader stuck in it; the table of mounts is clean at once, retries cost nothing."""
    volume = family.published("stuck", "direct")
    drop_page_cache()
    with family.world.network.silent():
        reader = subprocess.Popen(["cat", volume.file], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: look_stuck(reader), 10, "the reader to wait for the server")
        family.unpublish(volume)
        threads, processes = family.plugin.threads(), len(family.plugin.family())
        calls = [Later(family.plugin.client.unpublish, volume, 30) for _ in range(30)]
        for call in calls:
            answered(call.answer(), 30, "unpublish again")
            check(call.answer().ok or call.answer().code == "ABORTED", f"unpublish again: {call.answer()}")
        until(lambda: family.plugin.threads() <= threads + 1, 10, f"threads to be back at {threads}")
        until(lambda: len(family.plugin.family()) <= processes, 10, f"processes to be back at {processes}")
    reader.wait(RECOVERY)


def look_stuck(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "D"


def _retries_flat(family):
    """row 68: retries of a publish while the server is silent; threads and helper processes stay few, and all go in the end."""
    volume = family.volume("retried", "direct")
    threads, processes = family.plugin.threads(), len(family.plugin.family())
    counts = []
    with family.world.network.silent():
        for _ in range(6):
            answer = family.plugin.client.publish(volume, 4)
            answered(answer, 4, "publish")
            check(answer.code in NON_FINAL, f"publish: {answer}")
            counts.append((family.plugin.threads(), len(family.plugin.family())))
    check(max(c[0] for c in counts[3:]) <= counts[2][0] + 1, f"threads grow: {counts}")
    check(max(c[1] for c in counts[3:]) <= counts[2][1] + 1, f"processes grow: {counts}")
    family.publish_until_ok(volume)
    family.unpublish(volume)
    until(lambda: family.plugin.threads() <= threads + 1, RECOVERY, f"threads back at {threads}: {counts}")
    until(lambda: len(family.plugin.family()) <= processes, RECOVERY, f"processes back at {processes}: {counts}")


def _restart(family):
    """The plugin is killed and started while the server is silent and its share is mounted: it comes up, and recovers."""
    volume = family.published("over-restart", "direct")
    drop_page_cache()
    with family.world.network.silent():
        family.plugin.kill()
        started = time.monotonic()
        family.plugin.start()
        check(time.monotonic() - started < 15, f"ready only after {time.monotonic() - started:.1f} s")
        answered(family.plugin.client.publish(family.volume("after-restart", "direct"), 12), 12, "publish")
        family.unpublish(volume)
    later = family.volume("after-restart", "direct")
    family.publish_until_ok(later)
    same(look.digest(later.file), later.digest, "digest")
    family.unpublish(later)


def _start_unreachable(world, share):
    """row 65: the share cannot be reached from the start on."""
    family = Family(world, share, "unreachable")
    with contextlib.ExitStack() as stack:
        stack.callback(family.plugin.stop)
        volume = family.volume("unreachable", "direct")
        with world.network.silent():
            family.plugin.start()
            answer = family.plugin.client.publish(volume, 60)
            answered(answer, 12, "publish")
            same(answer.code, "UNAVAILABLE", f"code ({answer})")
            check("not reachable" in answer.message and SERVER in answer.message, f"message: {answer.message}")
            _alive(family)
        family.publish_until_ok(volume)
        same(look.digest(volume.file), volume.digest, "digest")
        family.unpublish(volume)


class TarPit:
    """A server that accepts connections and then says nothing, on a port of its own."""

    PORT = 20490

    def __enter__(self):
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{SERVER_NS}", "/usr/bin/python3", "-c",
             "import socket\ns = socket.create_server(('', %d))\nheld = []\nwhile True: held.append(s.accept())" % self.PORT],
            stdin=subprocess.DEVNULL)
        until(self._listens, 10, "the tar pit")
        return self

    def _listens(self):
        with contextlib.suppress(OSError), socket.create_connection((SERVER, self.PORT), 1):
            return True
        return False

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)


def _mount_hangs(world, share):
    """row 66: mount(2) itself hangs; the helper is killed at its deadline, and other shares are not touched by it."""
    family = Family(world, share, "pit")
    options = [f"port={TarPit.PORT}"] + ([f"mountport={TarPit.PORT}"] if share == "nfs3" else [])
    family.plugin.add_class("pit", share, options=options, subPath="outage/pit")
    with contextlib.ExitStack() as stack:
        stack.callback(family.plugin.stop)
        family.plugin.start()
        threads, processes = family.plugin.threads(), len(family.plugin.family())
        with TarPit():
            volume = family.volume("pit", "pit")
            for _ in range(2):
                answer = family.plugin.client.publish(volume, 40)
                answered(answer, 20, "publish")
                same(answer.code, "UNAVAILABLE", f"code ({answer})")
            good = family.published("beside-the-pit", "direct")
            family.unpublish(good)
            family.unpublish(volume)
        until(lambda: len(family.plugin.family()) <= processes, RECOVERY, f"processes back at {processes}")
        until(lambda: family.plugin.threads() <= threads + 1, RECOVERY, f"threads back at {threads}")


def _server_restarts(family):
    """row 69: the server goes down and comes back while a pod reads; the pod reads right bytes, new volumes work."""
    volume = family.published("server-restart", "direct")
    drop_page_cache()
    server = family.world.smb if family.share == "smb" else family.world.nfs
    server.stop()
    reader = subprocess.Popen(["sha256sum", volume.file], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    waiting = Later(family.plugin.client.publish, family.volume("meanwhile", "direct"), 24)
    answered(waiting.answer(), 24, "publish while the server is down")
    check(waiting.answer().code in NON_FINAL, f"publish while the server is down: {waiting.answer()}")
    server.start()
    output, _ = reader.communicate(timeout=RECOVERY)
    same(output[:64], volume.digest, "digest read across the server's restart")
    family.unpublish(volume)
    later = family.volume("meanwhile", "direct")
    family.publish_until_ok(later)
    family.unpublish(later)


def _emptied(family):
    until(lambda: not look.mounts_below(family.plugin.root), 10, "all mounts to be gone")
    check(family.plugin.stop(), "the plugin did not end by itself at SIGTERM")


def cases(world):
    for share in SHARES:
        name = lambda what, share=share: f"outage/{share}/{what}"
        if not (yield Case(name("unreachable-at-start"), lambda s=share: _start_unreachable(world, s), 150)):
            continue
        yield Case(name("mount-hangs"), lambda s=share: _mount_hangs(world, s), 150)
        family = Family(world, share)
        if not (yield Case(name("start"), family.plugin.start, 60)):
            continue
        for what, function in (("view-answers", _view_answers), ("copy-reads", _copy_reads), ("others-work", _local_class_works),
                               ("unpublish-middle", _unpublish_middle), ("retries-flat", _retries_flat),
                               ("server-restarts", _server_restarts), ("plugin-restart", _restart)):
            yield Case(name(what), lambda f=function, a=family: f(a), 180)
        for policy in POLICIES:
            yield Case(name(f"publish-middle-{policy}"), lambda a=family, p=policy: _publish_middle(a, p), 180)
        yield Case(name("emptied"), lambda a=family: _emptied(a), 60)
