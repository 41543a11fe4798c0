"""Kills the plugin, or the child process that reaches it, at every named crash point; restarts; checks the invariants.

The points are found by reading the sources, so that a new one is tested without being listed here; each must be hit, or its test
fails: a kill that hits nothing proves nothing."""

import os
import pathlib
import re
import subprocess
import sys
import time
import traceback

import grpc
import harness
import nginx
from harness import NON_FINAL, need, wait_until
from volume import SIZES, Background, Volume, content, partials

ROOT = pathlib.Path(os.environ["SC_ROOT"])
# Where a step lies outside what an inline volume in the node's own store does.
NEEDS = {"stage.": ("claim", "share"), "fill.copied": ("claim", "share-copy")}
ROWS = {"fill.": "rows 84-85", "fill.cop": "row 90", "publish.": "rows 86-87", "unpublish.": "row 88", "stage.": "row 86"}
LATEST = 60  # seconds that anything may take here


def crash_points():
    found = set()
    for layer in ("base", "mount", "cachecore", "csi"):
        for source in (ROOT / layer).glob("*.c"):
            found.update(re.findall(r'^\s*crash_point\("([a-z_.]+)"\);', source.read_text(), re.M))
    return sorted(found)


class World:
    def __init__(self):
        self.files = harness.WORK / "origin"
        self.files.mkdir(mode=0o755)
        for name in SIZES:
            (self.files / name).parent.mkdir(parents=True, exist_ok=True)
            (self.files / name).write_bytes(content(name))
        self.origin = nginx.Nginx(harness.WORK / "nginx", self.files)

    def node(self, name):
        node = harness.Node(re.sub("[^a-z]", "-", name))
        share = node.dir / "share"
        share.mkdir(mode=0o755)
        os.chown(share, 65532, 65532)
        node.shares = [share]
        node.add_class("share", {**harness.LOOPBACK, "shareType": "local", "share": str(share)})
        node.add_class("share-copy", {**harness.LOOPBACK, "shareType": "local", "share": str(share), "copyPolicy": "copy"})
        return node


def settle(node, volume, step):
    """kubelet's part: the same call again until it is answered; the plugin is started again when it is gone."""
    deadline = time.monotonic() + LATEST
    while True:
        try:
            return volume.call(step)
        except grpc.RpcError as error:
            need(error.code() in NON_FINAL, f"{step} after the crash: {error.code().name}: {error.details()}")
            need(time.monotonic() < deadline, f"{step} is never done: {error.code().name}: {error.details()}")
        if node.process.poll() is not None:
            node.start(node.environment)


def run_until_hit(node, volume, point, kills_node):
    """Makes the calls in order until the point was hit; returns the step under way then, or None. What comes before it is settled."""
    for step in volume.steps():
        call = Background(lambda step=step: volume.call(step))
        wait_until(lambda call=call: call.is_over() or node.hit.exists(), LATEST, f"{step} ends or hits {point}")
        if node.hit.exists():
            if kills_node and node.process.poll() is None:
                node.kill()
            error = call.join()
            # The plugin may take a moment to die, and outlives a child's death.
            if point.split(".")[0] != "fill" and not kills_node:
                wait_until(lambda: node.process.poll() is not None, 10, f"the plugin dies at {point}")
            return step, error
        error = call.join()
        need(error is None, lambda error=error, step=step: f"{step}: {error.code().name}: {error.details()}")
    return None, None


def crash(world, point, variant):
    """variant: retry (the same call comes again), abandon (kubelet gives the pod up and only cleans up), node (the plugin dies as well
    when its child does)."""
    kind, storage_class = next((value for prefix, value in NEEDS.items() if point.startswith(prefix)), ("inline", "test"))
    node = world.node(f"{point}-{variant}")
    node.hit = node.dir / "hits" / point
    node.environment = {"SHAREDCACHE_CRASH_AT": point, "SHAREDCACHE_CRASH_HIT": str(node.hit)}
    with Cleanup(node):
        node.start(node.environment)
        # Only from here on can a point be hit: what the start itself passes (a view is tried) is not meant.
        node.hit.parent.mkdir()
        node.hit.parent.chmod(0o777)
        volume = Volume(node, world.origin, kind, storage_class)
        step, error = run_until_hit(node, volume, point, variant == "node")
        need(step, f"{point} was never hit: this kill proves nothing")
        need(not error or error.code() in NON_FINAL, lambda: f"{step} failed for good: {error.code().name}: {error.details()}")
        if node.process.poll() is not None:
            node.start(node.environment)
        need(len(volume.mounts()) <= 1, lambda: f"mounts after the crash: {volume.mounts()}")
        finish(node, volume, step, variant)


def finish(node, volume, step, variant):
    steps = volume.steps()
    rest = steps[steps.index(step):]
    if variant == "abandon":
        rest = [each for each in rest if each.startswith("un")]
    for each in rest:
        settle(node, volume, each)
        if each == "publish":
            volume.check_published()
            settle(node, volume, each)  # once more: nothing changes
            volume.check_published()
    if "unpublish" not in rest:
        settle(node, volume, "unpublish")
    volume.check_gone(partials_may_stay=variant == "abandon")
    need("record_damaged" not in node.log(), "a record was damaged")


class Cleanup:
    def __init__(self, node):
        self.node = node

    def __enter__(self):
        return self.node

    def __exit__(self, *_):
        for base in (self.node.kubelet, self.node.state):
            for _, target, *_ in reversed(harness.mounts(base)):
                subprocess.run(["umount", "-l", target], check=False, timeout=60)
        if self.node.process:
            self.node.stop()


def tests(world):
    for point in crash_points():
        row = next(ROWS[prefix] for prefix in sorted(ROWS, key=len, reverse=True) if point.startswith(prefix))
        variants = ["retry", "node"] if point.startswith("fill.") else ["retry", "abandon"] if point.startswith("publish.") else ["retry"]
        for variant in variants:
            yield f"{row} {point} {variant}", lambda point=point, variant=variant: crash(world, point, variant)
    import states
    for name, function in states.TESTS:
        yield name, lambda function=function: function(world)


def run(name, function):
    started, complaint = time.monotonic(), None
    try:
        function()
    except Exception as error:  # a test that breaks is a test that failed
        frame = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if "crash" in f.filename), None)
        complaint = f"{type(error).__name__} at {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}: {' '.join(str(error).split())[:900]}"
    harness.report(name, complaint, time.monotonic() - started)
    return complaint is None


def main():
    words = sys.argv[1:]
    world = World()
    passed = failed = 0
    try:
        need(len(crash_points()) >= 20, f"only {len(crash_points())} crash points found in {ROOT}")
        for name, function in tests(world):
            if words and not any(word in name for word in words):
                continue
            good = run(name, function)
            passed, failed = passed + good, failed + (not good)
    finally:
        world.origin.stop()
    print(f"{passed} passed, {failed} failed", flush=True)
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
