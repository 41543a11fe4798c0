"""Rows 1 to 21: fields of requests."""

import os
import pathlib
import socket
import subprocess

import csi_pb2
import grpc
from harness import MODE, Code, capability, expect, mounts, need, test, wait_until


def published(world, name, **options):
    pod = world.node.pod(name)
    pod.publish(world.file(f"{name}.txt", name.encode()), **options)
    return pod


def varied(world, name, change):
    """A pod, and a call of its publish with something changed."""
    pod = world.node.pod(name)
    request = pod.request(world.file("ordinary.txt", b"ordinary"))
    change(request)
    return pod, lambda: world.node.call("NodePublishVolume", request)


@test("row-1 missing-fields")
def missing_fields(world):
    for field in ("volume_id", "target_path", "volume_capability"):
        pod, call = varied(world, "missing", lambda request, name=field: request.ClearField(name))
        pod.final(Code.INVALID_ARGUMENT, call, field)


@test("row-2 capability-without-type-or-mode")
def bad_capability(world):
    def no_type(request):
        request.volume_capability.ClearField("mount")

    def mode(value):
        return lambda request: setattr(request.volume_capability.access_mode, "mode", value)
    for change in (no_type, mode(MODE.UNKNOWN), mode(99), lambda request: request.volume_capability.ClearField("access_mode")):
        pod, call = varied(world, "capability", change)
        pod.final(Code.INVALID_ARGUMENT, call, "volume_capability|access_mode|access_type|capability|mode")


@test("row-3 block-volume")
def block(world):
    pod, call = varied(world, "block", lambda request: request.volume_capability.block.SetInParent())
    pod.final(Code.INVALID_ARGUMENT, call, "only mount volumes")


@test("row-4 target-outside-or-malformed")
def bad_target(world):
    kubelet = str(world.node.kubelet)
    outside = world.node.dir / "outside"
    for target in ("relative/mount", f"{kubelet}/pods/../../outside", f"{kubelet}/pods/a\0b", str(outside), kubelet,
                   f"{kubelet}-other/mount", kubelet + "/" + "x/" * 2100 + "mount", f"{kubelet}/./pods/mount"):
        pod, call = varied(world, "target", lambda request, value=target: setattr(request, "target_path", value))
        pod.final(Code.INVALID_ARGUMENT, call, "target_path")
    need(not outside.exists(), "a directory was made outside")
    need(not pathlib.Path("relative").exists(), "a relative directory was made")


@test("row-5 parent-of-target-missing")
def parent_missing(world):
    pod = world.node.pod("parent")
    pod.target.parent.rmdir()
    pod.final(Code.INTERNAL, lambda: pod.publish(world.file("ordinary.txt", b"ordinary")), "kubelet did not create")
    need(not pod.target.parent.exists(), "the parent was made")


@test("row-6 target-is-a-file-or-a-symlink")
def target_is_a_file(world):
    url = world.file("ordinary.txt", b"ordinary")
    pod = world.node.pod("file")
    pod.target.write_text("mine")
    expect(Code.INVALID_ARGUMENT, lambda: pod.publish(url), "target")
    need(pod.target.read_text() == "mine", "the file was touched")
    pod = world.node.pod("symlink")
    victim = world.node.kubelet / "victim"
    victim.mkdir(exist_ok=True)
    pod.target.symlink_to(victim)
    expect(Code.INVALID_ARGUMENT, lambda: pod.publish(url), "target")
    need(pod.target.is_symlink() and not mounts(victim) and not list(victim.iterdir()), "the link was followed")


@test("row-6 parent-is-a-symlink")
def parent_is_a_symlink(world):
    pod = world.node.pod("symlink-parent")
    elsewhere = world.node.dir / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    pod.target.parent.rmdir()
    pod.target.parent.symlink_to(elsewhere)
    expect(Code.INVALID_ARGUMENT, lambda: pod.publish(world.file("ordinary.txt", b"ordinary")), "symbolic link")
    need(not list(elsewhere.iterdir()) and not mounts(elsewhere), "the link was followed")


@test("row-7 target-not-empty")
def not_empty(world):
    pod = world.node.pod("not-empty")
    pod.target.mkdir()
    (pod.target / "precious").write_text("keep")
    expect(Code.FAILED_PRECONDITION, lambda: pod.publish(world.file("ordinary.txt", b"ordinary")), "not empty")
    need((pod.target / "precious").read_text() == "keep" and not pod.mounts(), "contents were touched")


@test("row-8 publish-twice-is-one-mount")
def twice(world):
    pod = published(world, "twice")
    before = pod.mounts()
    for _ in range(3):
        pod.publish(world.nginx.url("twice.txt"))
    need(len(before) == 1 and pod.mounts() == before, f"{before} {pod.mounts()}")
    pod.unpublish()
    pod.nothing_left()


@test("row-9 same-target-other-arguments")
def other_arguments(world):
    pod = published(world, "arguments")
    before = pod.mounts()
    url = world.nginx.url("arguments.txt")
    other = world.file("other.txt", b"other")
    request = pod.request(url)
    request.volume_capability.access_mode.mode = MODE.MULTI_NODE_READER_ONLY
    for call in (lambda: pod.publish(other), lambda: pod.publish(url, readonly=True), lambda: world.node.call("NodePublishVolume", request)):
        expect(Code.ALREADY_EXISTS, call)
        need(pod.mounts() == before and pod.read("arguments.txt") == b"arguments", "the mount that is there was touched")
    pod.unpublish()


@test("row-10 target-mounted-by-somebody-else")
def somebody_else(world):
    pod = world.node.pod("foreign")
    pod.target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=65536,mode=0751", "foreign", pod.target], check=True, timeout=60)
    expect(Code.FAILED_PRECONDITION, lambda: pod.publish(world.file("ordinary.txt", b"ordinary")), "tmpfs", absent=("0751", "mode="))
    need(len(pod.mounts()) == 1, pod.mounts())
    subprocess.run(["umount", pod.target], check=True, timeout=60)


BAD_IDS = ("x" * 129, "../x", "/", "a/b", "new\nline", "", ".")


def with_id(message, raw):
    """The message with volume_id (field 1) as these bytes, UTF-8 or not."""
    message.ClearField("volume_id")
    return b"\x0a" + bytes([len(raw)]) + raw + message.SerializeToString()


@test("row-11 malformed-volume-ids")
def bad_ids(world):
    """As a claim's: an inline volume's id has a form of its own, which none of these has."""
    node, pod = world.node, world.node.pod("ids")
    base = pod.request(world.file("ordinary.txt", b"ordinary"))
    base.volume_context["csi.storage.k8s.io/ephemeral"] = "false"
    base.staging_target_path = str(node.kubelet / "plugins/staging-ids")
    for bad in BAD_IDS:
        base.volume_id = bad
        pod.final(Code.INVALID_ARGUMENT, lambda: node.call("NodePublishVolume", base), "volume_id")
        if not bad:
            continue
        expect(Code.NOT_FOUND, lambda name=bad: world.controller.call("ValidateVolumeCapabilities", csi_pb2.ValidateVolumeCapabilitiesRequest(
            volume_id=name, volume_capabilities=[capability()])))
        expect(Code.NOT_FOUND, lambda name=bad: node.call("NodeGetVolumeStats", csi_pb2.NodeGetVolumeStatsRequest(
            volume_id=name, volume_path=str(pod.target))))
        world.controller.call("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=bad))
    pod.final((Code.INVALID_ARGUMENT, Code.INTERNAL), lambda: node.call("NodePublishVolume", with_id(base, b"csi-\xff\xfe")))


@test("row-12 unpublish-of-the-unknown")
def unpublish_unknown(world):
    pod = world.node.pod("unknown")
    pod.unpublish()
    pod.unpublish()


@test("row-13 unpublish-of-an-empty-directory")
def unpublish_empty(world):
    pod = world.node.pod("empty")
    pod.target.mkdir()
    pod.unpublish()
    pod.nothing_left()


@test("row-14 unpublish-never-deletes-what-is-there")
def unpublish_not_empty(world):
    pod = world.node.pod("full")
    pod.target.mkdir()
    (pod.target / "precious").write_text("keep")
    expect(Code.FAILED_PRECONDITION, pod.unpublish, "not empty")
    need((pod.target / "precious").read_text() == "keep", "deleted")


@test("row-15 unpublish-of-a-corrupt-mount")
def corrupt(world):
    """A FUSE mount whose daemon is gone: every stat says ENOTCONN."""
    pod = world.node.pod("corrupt")
    pod.target.mkdir()
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    subprocess.run(["mount", "-i", "-t", "fuse", "-o", options, "dead", pod.target], check=True, timeout=60, pass_fds=(device,))
    os.close(device)
    try:
        os.stat(pod.target)
        raise AssertionError("the mount is not corrupt")
    except OSError as error:
        need(error.errno == 107, error)
    pod.unpublish()
    pod.nothing_left()


@test("row-16 stats-of-unknown-paths")
def stats(world):
    pod = published(world, "stats")

    def call(volume, path):
        return world.node.call("NodeGetVolumeStats", csi_pb2.NodeGetVolumeStatsRequest(volume_id=volume, volume_path=str(path)), timeout=5)
    usage = {entry.unit: entry for entry in call(pod.volume, pod.target).usage}
    need(usage[csi_pb2.VolumeUsage.BYTES].used == 5 or usage[csi_pb2.VolumeUsage.BYTES].total == 5, usage)
    need(all(entry.total >= 0 and entry.used >= 0 and entry.available >= 0 for entry in usage.values()), usage)
    for volume, path in ((pod.volume, "some/path"), (pod.volume, "/nowhere"), ("csi-" + "0" * 64, pod.target)):
        expect(Code.NOT_FOUND, lambda v=volume, p=path: call(v, p))
    for volume, path in (("", pod.target), (pod.volume, "")):
        expect(Code.INVALID_ARGUMENT, lambda v=volume, p=path: call(v, p))
    pod.unpublish()
    expect(Code.NOT_FOUND, lambda: call(pod.volume, pod.target))


@test("row-17 unknown-method")
def unknown_method(world):
    for path in ("/csi.v1.Node/NodeExpandVolume", "/csi.v1.Node/Nonsense", "/nonsense"):
        call = world.node.channel.unary_unary(path)
        expect(Code.UNIMPLEMENTED, lambda c=call: c(b"", timeout=5))


@test("row-18 broken-messages-leave-the-connection-alive")
def broken_messages(world):
    node = world.node
    channel = node.connect(("grpc.use_local_subchannel_pool", 1))

    def alive():
        node.call("Probe", csi_pb2.ProbeRequest(), channel=channel)
    alive()
    whole = node.pod("broken").request("http://127.0.0.1/x").SerializeToString()
    for bad in (whole[:-3], b"\x0a\xff\xff\xff\xff\x0f", b"\x0d\x01\x02\x03\x04" + whole, b"\x0b"):
        if bad[:1] == b"\x0d":
            # A known field with another wire type is skipped by some parsers and refused by others: never taken.
            expect((Code.INTERNAL, Code.INVALID_ARGUMENT), lambda b=bad[:5]: node.call("NodeUnpublishVolume", b, channel=channel))
        else:
            expect(Code.INTERNAL, lambda b=bad: node.call("NodePublishVolume", b, channel=channel))
        alive()
    expect(Code.RESOURCE_EXHAUSTED, lambda: node.call("NodePublishVolume", bytes(2 << 20), channel=channel))
    alive()
    expect(Code.UNIMPLEMENTED, lambda: node.call("NodePublishVolume", whole + b"\x7a\x80\x08" + b"x" * 1024, channel=channel,
                                                 compression=grpc.Compression.Gzip))
    alive()
    channel.close()


@test("row-19 socket-path-as-authority")
def authority(world):
    for name in (str(world.node.socket), "/", "localhost"):
        channel = world.node.connect(("grpc.default_authority", name))
        world.node.call("Probe", csi_pb2.ProbeRequest(), channel=channel)
        channel.close()


@test("row-19 http1-bytes-close-the-connection")
def http1(world):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(world.node.socket))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
    world.node.call("Probe", csi_pb2.ProbeRequest())


def create(world, name="pvc-1", caps=None, parameters=None, **fields):
    request = csi_pb2.CreateVolumeRequest(name=name, volume_capabilities=[capability()] if caps is None else caps,
                                          parameters={"inputs": "https://data.example.com/a"} if parameters is None else parameters, **fields)
    return world.controller.call("CreateVolume", request)


@test("row-20 create-volume")
def create_volume(world):
    expect(Code.INVALID_ARGUMENT, lambda: create(world, name=""), "name")
    expect(Code.INVALID_ARGUMENT, lambda: create(world, caps=[]), "capabilit")
    expect(Code.INVALID_ARGUMENT, lambda: create(world, name="a\x07b"), "name")
    source = csi_pb2.VolumeContentSource()
    source.snapshot.snapshot_id = "snapshot"
    expect(Code.INVALID_ARGUMENT, lambda: create(world, name="pvc-copy", volume_content_source=source), "source")
    first = create(world, name="pvc-same").volume
    need(create(world, name="pvc-same").volume.volume_id == first.volume_id, "not idempotent")
    expect(Code.ALREADY_EXISTS, lambda: create(world, name="pvc-same", parameters={"inputs": "https://data.example.com/b"}))
    longest = create(world, name="ä" * 64).volume
    for volume in (first, longest):
        world.controller.call("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume.volume_id))
        world.controller.call("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume.volume_id))


@test("row-21 create-volume-capacity")
def capacity(world):
    for required, limit in ((10, 5), (-1, 0), (0, -1)):
        bounds = csi_pb2.CapacityRange(required_bytes=required, limit_bytes=limit)
        expect((Code.OUT_OF_RANGE, Code.INVALID_ARGUMENT), lambda b=bounds: create(world, name="pvc-range", capacity_range=b))
    volume = create(world, name="pvc-capacity", capacity_range=csi_pb2.CapacityRange(required_bytes=1 << 30)).volume
    need(volume.capacity_bytes == 0, volume.capacity_bytes)
    world.controller.call("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume.volume_id))


@test("row-20 a-claim-from-creation-to-its-end")
def claim(world):
    """Create, stage, publish, unpublish, unstage, delete, as a provisioner and kubelet do it."""
    node, pod = world.node, world.node.pod("claim")
    url = world.file("claim.txt", b"claimed")
    parameters = {"inputs": url, "allowedAddresses": "127.0.0.0/8"}
    volume = create(world, name="pvc-claim", parameters=parameters).volume
    need(dict(volume.volume_context) == parameters, volume.volume_context)
    staging = node.kubelet / "plugins/staging-claim"
    staging.mkdir(parents=True)
    shared = {"volume_id": volume.volume_id, "staging_target_path": str(staging), "volume_capability": capability(),
              "volume_context": dict(volume.volume_context)}
    node.call("NodeStageVolume", csi_pb2.NodeStageVolumeRequest(**shared))
    context = {**volume.volume_context, **pod.context({}), "csi.storage.k8s.io/ephemeral": "false"}
    request = csi_pb2.NodePublishVolumeRequest(**{**shared, "volume_context": context}, target_path=str(pod.target))
    node.call("NodePublishVolume", request)
    need(pod.read("claim.txt") == b"claimed", "contents")
    pod.volume = volume.volume_id
    pod.unpublish()
    pod.nothing_left()
    for _ in range(2):
        node.call("NodeUnstageVolume", csi_pb2.NodeUnstageVolumeRequest(volume_id=volume.volume_id, staging_target_path=str(staging)))
    world.controller.call("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume.volume_id))
    wait_until(lambda: not mounts(staging), 5, "staging is clean")
