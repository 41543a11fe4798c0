"""What a restart finds and what runs at once: rows 84 and 91 to 95, 101 and 108 of the table of faults."""

import os
import threading
import time

import csi_pb2
import grpc
import harness
from harness import Code, Node, need, wait_until
from volume import SIZES, Background, Volume, content

TESTS = []


def test(name):
    def register(function):
        TESTS.append((name, function))
        return function
    return register


def published(world, name, kind="inline", storage_class="test"):
    from main import Cleanup
    node = world.node(name)
    node.start()
    volume = Volume(node, world.origin, kind, storage_class)
    if kind == "claim":
        volume.call("stage")
    volume.call("publish")
    volume.check_published()
    return Cleanup(node), node, volume


def records(node, directory="volumes"):
    return [each for each in (node.state / directory).iterdir() if each.name.endswith(".json") and not each.name.startswith("damaged.")]


def damage(path, how):
    data = path.read_bytes()
    path.write_bytes({"zero bytes": b"", "truncated": data[: len(data) // 2], "zeros": b"\0" * len(data),
                      "one bit": bytes([data[-5] ^ 1]).join([data[:-5], data[-4:]])}[how])


def damaged_record(world, how):
    """The mount speaks for itself: it is kept, taken over, answered for, and can be unpublished."""
    cleanup, node, volume = published(world, "damaged")
    with cleanup:
        before = volume.mounts()
        node.kill()
        need(len(records(node)) == 1, records(node))
        damage(records(node)[0], how)
        node.start()
        need("record_damaged" in node.log() and "view_adopted" in node.log(), node.log()[-1000:])
        volume.check_published()
        need(volume.mounts() == before, "the mount changed at the restart")
        volume.call("publish")
        need(volume.mounts() == before, "the retry mounted again")
        need(len(records(node)) == 1, records(node))
        node.kill()
        node.start()  # the rebuilt record is a whole one
        volume.call("publish")
        need(volume.mounts() == before, "mounted again")
        volume.call("unpublish")
        for each in (node.state / "volumes").glob("damaged.*"):
            each.unlink()
        volume.check_gone()


for _how in ("zero bytes", "truncated", "zeros", "one bit"):
    TESTS.append((f"row 92 a record with {_how}", lambda world, how=_how: damaged_record(world, how)))


@test("row 92 a damaged record, unpublished without another publish")
def damaged_then_unpublished(world):
    cleanup, node, volume = published(world, "damaged-gone")
    with cleanup:
        node.kill()
        damage(records(node)[0], "zeros")
        node.start()
        volume.call("unpublish")
        for each in (node.state / "volumes").glob("damaged.*"):
            each.unlink()
        volume.check_gone()


@test("row 92 node reboot: records without mounts")
def rebooted(world):
    """All mounts are gone, and the layers may be half written: kubelet publishes anew, or never comes back."""
    cleanup, node, volume = published(world, "reboot")
    with cleanup:
        node.kill()
        harness.subprocess.run(["umount", str(volume.target)], check=True, timeout=60)
        layer = next((node.state / "layers").iterdir())
        (layer / "empty").unlink()
        node.start()
        need(not volume.mounts(), volume.mounts())
        volume.call("publish")
        volume.check_published()
        node.kill()
        harness.subprocess.run(["umount", str(volume.target)], check=True, timeout=60)
        volume.target.rmdir()
        node.start()
        need(not records(node), "the record of a pod that is gone was kept")
        volume.check_gone()


@test("rows 93 and 108 killed and started again under a reader")
def reader_reads_on(world):
    cleanup, node, volume = published(world, "reader")
    with cleanup:
        stop, faults, rounds = threading.Event(), [], [0]

        def read():
            while not stop.is_set():
                try:
                    need((volume.target / "deep/small.txt").read_bytes() == content("deep/small.txt"), "other bytes")
                    rounds[0] += 1
                except Exception as error:
                    faults.append(error)
                    return
        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(5):
            seen = rounds[0]
            node.kill()
            wait_until(lambda seen=seen: rounds[0] > seen or faults, 10, "the reader reads while no plugin runs")
            node.start()
        stop.set()
        reader.join()
        need(not faults, faults)
        volume.call("publish")
        volume.call("unpublish")
        volume.check_gone()


@test("row 91 the same call again while it runs, after the plugin died")
def duplicate_call(world):
    from main import Cleanup
    node = world.node("duplicate")
    with Cleanup(node):
        node.start()
        volume = Volume(node, world.origin, "inline", "test")
        calls = [Background(lambda: volume.call("publish")) for _ in range(4)]
        wait_until(lambda: any(call.is_over() for call in calls) or (node.state / "store/FORMAT").exists(), 20, "they run")
        node.kill()
        for call in calls:
            call.join()
        node.start()
        calls = [Background(lambda: volume.call("publish")) for _ in range(4)]
        for call in calls:
            error = call.join()
            need(error is None or error.code() == Code.ABORTED, lambda error=error: f"{error.code()}: {error.details()}")
        volume.check_published()
        volume.call("unpublish")
        volume.check_gone()


@test("row 95 publish and unpublish over each other, many times")
def overlapping(world):
    """Whatever came first, after the last unpublish nothing is there. The unpublish comes earlier and later in the publish's course."""
    from main import Cleanup
    node = world.node("overlap")
    with Cleanup(node):
        node.start()
        volume = Volume(node, world.origin, "inline", "test")
        for number in range(60):
            publish = Background(lambda: volume.call("publish"))
            time.sleep(number % 20 * 0.002)
            unpublish = Background(lambda: volume.call("unpublish"))
            error = unpublish.join()
            need(error is None, lambda error=error: f"unpublish: {error.code()}: {error.details()}")
            error = publish.join()
            need(error is None or error.code() in harness.NON_FINAL, lambda error=error: f"publish: {error.code()}: {error.details()}")
            need(len(volume.mounts()) <= (error is None), volume.mounts())
            volume.call("unpublish")
            volume.check_gone(partials_may_stay=True)


@test("row 94 one volume, two targets: only one where the access mode says so")
def exclusive_targets(world):
    cleanup, node, volume = published(world, "exclusive", "claim", "share")
    with cleanup:
        first = volume.target
        volume.target = node.kubelet / "pods/v/mount"
        volume.target.parent.mkdir(parents=True)
        harness.expect(Code.FAILED_PRECONDITION, lambda: volume.call("publish"), "another target_path")
        need(not os.path.lexists(volume.target) and len(records(node)) == 1, "something is left of the refused one")
        volume.target = first
        volume.check_published()
        volume.call("unpublish")
        volume.call("unstage")
        volume.check_gone()


@test("row 94 one volume, two targets at once")
def exclusive_race(world):
    """Both pass every look before either is recorded; still only one gets it."""
    from main import Cleanup
    node = world.node("race")
    with Cleanup(node):
        node.start()
        volume = Volume(node, world.origin, "claim", "share")
        volume.call("stage")
        targets = [volume.target, node.kubelet / "pods/v/mount"]
        targets[1].parent.mkdir(parents=True)

        def publish(target):
            node.call("NodePublishVolume", csi_pb2.NodePublishVolumeRequest(
                volume_id=volume.id, target_path=str(target), staging_target_path=str(volume.staging),
                volume_capability=harness.capability(), volume_context=volume.context), timeout=40)
        for _ in range(5):
            calls = [Background(lambda target=target: publish(target)) for target in targets]
            errors = [call.join() for call in calls]
            refused = [error for error in errors if error]
            need(len(refused) == 1 and refused[0].code() == Code.FAILED_PRECONDITION, lambda errors=errors: f"{errors}")
            need(len(harness.mounts(node.kubelet)) == 1, lambda: f"{harness.mounts(node.kubelet)}")
            for target in targets:
                volume.target = target
                volume.call("unpublish")
        volume.call("unstage")
        volume.check_gone()


@test("row 101 a second plugin on the node waits for the first")
def two_plugins(world):
    from main import Cleanup
    cleanup, node, volume = published(world, "first")
    second = Node("second", state_dir=node.dir / "unused")
    second.command[second.command.index("--state-dir") + 1] = str(node.state)
    second.command[second.command.index("--kubelet-dir") + 1] = str(node.kubelet)
    second.command[second.command.index("--class-dir") + 1] = str(node.classes)
    with cleanup:
        log = open(second.log_path, "ab")
        second.process = harness.subprocess.Popen(second.command, stdin=harness.subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        wait_until(lambda: "waiting_for_lock" in second.log(), 20, "the second one waits")
        need(not second.socket.exists(), "the second one serves")
        need(second.log().count("waiting_for_lock") == 1, "it says so more than once")
        node.stop()
        with Cleanup(second):
            second.channel = second.connect()
            wait_until(second.is_ready, 20, "the second one serves")
            volume.node = second
            second.shares, second.state, second.kubelet = node.shares, node.state, node.kubelet
            volume.call("publish")
            volume.check_published()
            volume.call("unpublish")
            volume.check_gone()


@test("row 9 arguments are compared after a restart, too")
def arguments_survive(world):
    cleanup, node, volume = published(world, "arguments")
    with cleanup:
        node.kill()
        node.start()
        inputs = volume.context["inputs"]
        volume.context["inputs"] = inputs.split("\n")[0]
        harness.expect(Code.ALREADY_EXISTS, lambda: volume.call("publish"))
        volume.context["inputs"] = inputs
        volume.call("publish")
        volume.check_published()
        volume.call("unpublish")
        volume.check_gone()


@test("stage: a claim's share is unmounted when the last user goes, and stats come from the record")
def claim_life(world):
    cleanup, node, volume = published(world, "claim", "claim", "share")
    with cleanup:
        node.kill()
        node.start()
        reply = node.call("NodeGetVolumeStats", csi_pb2.NodeGetVolumeStatsRequest(volume_id=volume.id, volume_path=str(volume.target)))
        usage = {each.unit: (each.total, each.used) for each in reply.usage}
        total = sum(SIZES.values())
        need(usage == {csi_pb2.VolumeUsage.BYTES: (total, total), csi_pb2.VolumeUsage.INODES: (3, 3)}, usage)
        volume.call("stage")
        volume.call("unpublish")
        need(len(records(node, "staged")) == 1, "the staged record went with the pod")
        volume.call("unstage")
        volume.call("unstage")
        volume.check_gone()
