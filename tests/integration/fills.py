"""Fills: one download for all, deadlines, the fetcher's death, unpublish in the middle, copies."""

import concurrent.futures
import os
import signal
import threading
import time

import csi_pb2
import grpc
import harness
import hostile
from harness import Code, Node, expect, need, test, wait_until

MIB = 1 << 20


@test("fill two-pods-share-one-download")
def two_pods(world):
    size, path = 20 * MIB, f"gate/{20 * MIB}/shared"
    inputs = f"{world.hostile.url(path)} -> data.bin"
    pods = [world.node.pod("shared") for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(pod.publish_as_kubelet, inputs) for pod in pods]
        wait_until(lambda: world.hostile.body_bytes("/" + path) > 0 or world.hostile.requests("/" + path), 20, "the first byte")
        world.hostile.open_gate("shared")
        for each in waiting:
            each.result(60)
    digests = {harness.digest_file(pod.target / "data.bin") for pod in pods}
    need(digests == {hostile.sha256(size, "shared")}, digests)
    sent = world.hostile.body_bytes("/" + path)
    need(size <= sent <= size + 10, f"{sent} bytes left the server for {size}")
    third = world.node.pod("shared")
    third.publish(inputs)
    need(world.hostile.body_bytes("/" + path) <= sent + 10, "a hit was downloaded")
    for pod in (*pods, third):
        pod.unpublish()
        pod.nothing_left()


@test("fill row-96 many-pods-of-one-url")
def many_pods(world):
    size, path = 2 * MIB, f"plain/{2 * MIB}/many"
    inputs = f"{world.hostile.url(path)} -> data.bin"
    pods = [world.node.pod("many") for _ in range(200)]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda pod: pod.publish_as_kubelet(inputs), pods))
        need(harness.digest_file(pods[199].target / "data.bin") == hostile.sha256(size, "many"), "contents")
        sent = world.hostile.body_bytes("/" + path)
        need(size <= sent <= size + 1000, f"{sent} bytes left the server for {size}")
        list(pool.map(lambda pod: pod.unpublish_as_kubelet(), pods))
    for pod in pods:
        pod.nothing_left()


@test("fill the-call-ends-before-its-deadline-and-the-fill-goes-on")
def deadline(world):
    size, path = 4000000, "gate/4000000/deadline"
    inputs = f"{world.hostile.url(path)} -> data.bin"
    pod = world.node.pod("deadline")
    started = time.monotonic()
    message = expect(Code.ABORTED, lambda: pod.publish(inputs, timeout=6), "cached .* of .* percent")
    need(2 < time.monotonic() - started < 6, f"held {time.monotonic() - started:.1f} s of 6")
    need("3.8 MiB" in message, message)
    pod.nothing_left() if not os.path.lexists(pod.target) else need(not pod.mounts(), "mounted")
    world.hostile.open_gate("deadline")
    pod.publish_as_kubelet(inputs)
    need(pod.read("data.bin") == hostile.content(size, "deadline"), "contents")
    need(world.hostile.body_bytes("/" + path) <= size + 10, "downloaded twice")
    pod.unpublish()


@test("fill row-94 two-publishes-of-one-volume-at-once")
def two_publishes(world):
    inputs = f"{world.hostile.url('gate/3000000/both')} -> data.bin"
    pod = world.node.pod("both")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(pod.publish_as_kubelet, inputs) for _ in range(2)]
        wait_until(lambda: world.hostile.requests("/gate/3000000/both"), 20, "the download")
        world.hostile.open_gate("both")
        for each in waiting:
            each.result(60)
    need(len(pod.mounts()) == 1, pod.mounts())
    pod.unpublish()
    pod.nothing_left()


@test("fill row-95 unpublish-cancels")
def unpublish_cancels(world):
    path = f"slow:100000/{50 * MIB}/cancelled"
    pod = world.node.pod("cancelled")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pod.publish, f"{world.hostile.url(path)} -> data.bin", 60)
        wait_until(lambda: world.hostile.requests("/" + path), 20, "the download")
        started = time.monotonic()
        for _ in range(20):
            try:
                pod.unpublish()
                break
            except grpc.RpcError as error:
                need(error.code() in harness.NON_FINAL, error)
        need(time.monotonic() - started < 30, "unpublish waited for the download")
        expect((Code.ABORTED, Code.CANCELLED, Code.UNAVAILABLE), lambda: waiting.result(30))
    pod.nothing_left()
    wait_until(lambda: all(record["done"] for record in world.hostile.requests("/" + path)), 20, "the download ends")


@test("fill row-100 a-caller-that-goes-away")
def caller_goes(world):
    """Cancelled in the middle: the download goes on for the others, and the plugin lives."""
    size, path = 4000000, "gate/4000000/leaver"
    inputs = f"{world.hostile.url(path)} -> data.bin"
    stays, leaves = world.node.pod("stays"), world.node.pod("leaves")
    stub = world.node.channel.unary_unary("/csi.v1.Node/NodePublishVolume", request_serializer=csi_pb2.NodePublishVolumeRequest.SerializeToString)
    call = stub.future(leaves.request(inputs), timeout=60)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stays.publish_as_kubelet, inputs)
        wait_until(lambda: world.hostile.requests("/" + path), 20, "the download")
        call.cancel()
        world.hostile.open_gate("leaver")
        waiting.result(60)
    need(stays.read("data.bin") == hostile.content(size, "leaver"), "contents")
    need(world.hostile.body_bytes("/" + path) <= size + 10, "downloaded twice")
    leaves.unpublish()
    stays.unpublish()
    leaves.nothing_left()


@test("fill the-fetcher-dies-and-the-fill-goes-on", slow=True)
def fetcher_dies(world):
    size = 48 * MIB
    path = f"slow:{2 * MIB}/{size}/killed"
    inputs = f"{world.hostile.url(path)} -> data.bin"
    with Node("fetcher") as node:
        pod = node.pod("killed")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(pod.publish_as_kubelet, inputs)
            wait_until(lambda: world.hostile.body_bytes("/" + path) > size // 2, 60, "half of it left the server")
            before = node.children()["fetcher"]
            os.kill(before, signal.SIGKILL)
            need(not waiting.done(), "it was over before the kill")
            waiting.result(120)
        wait_until(lambda: node.children().get("fetcher") not in (None, before), 10, "another fetcher")
        need(harness.digest_file(pod.target / "data.bin") == hostile.sha256(size, "killed"), "contents")
        sent = world.hostile.body_bytes("/" + path)
        need(sent < size + size // 3, f"{sent} bytes left the server for {size}: what was there was not kept")
        pod.unpublish()


@test("fill the-plugin-is-killed-and-started-again", slow=True)
def plugin_dies(world):
    """A published volume reads on; an unfinished fill is taken up; the fetcher does not outlive its plugin."""
    inputs = f"{world.hostile.url('plain/1000000/alive')} -> data.bin"
    with Node("restart") as node:
        pod = node.pod("alive")
        pod.publish(inputs)
        before = pod.mounts()
        with open(pod.target / "data.bin", "rb") as reader:
            half = reader.read(500000)
            fetcher = node.children()["fetcher"]
            node.kill()
            wait_until(lambda: harness.process_ended(fetcher), 10, "the fetcher ends")
            need(half + reader.read() == hostile.content(1000000, "alive"), "a reader across the restart")
        node.start()
        pod.publish(inputs)
        need(pod.mounts() == before and len(before) == 1, "mounted again")
        pod.unpublish()
        pod.nothing_left()


@test("fill copy-policy-keeps-one-copy-for-the-node")
def copy(world):
    size, path = 9 * MIB, f"plain/{9 * MIB}/copied"
    inputs = f"{world.hostile.url(path)} -> data.bin"
    first, second, direct = (world.node.pod("copy") for _ in range(3))
    first.publish(inputs, storageClass="copy")
    local = world.node.state / "store" / "objects"
    objects = {each.name: each.stat() for each in local.glob("*/*") if each.stat().st_size == size}
    need(len(objects) == 1, f"{len(objects)} local objects of this size")
    second.publish(inputs, storageClass="copy")
    after = {each.name: each.stat() for each in local.glob("*/*") if each.stat().st_size == size}
    need({name: (s.st_ino, s.st_mtime_ns) for name, s in after.items()} == {name: (s.st_ino, s.st_mtime_ns) for name, s in objects.items()}, "copied again")
    direct.publish(inputs, storageClass="direct")
    for pod in (first, second, direct):
        need(harness.digest_file(pod.target / "data.bin") == hostile.sha256(size, "copied"), "contents")
    sent = world.hostile.body_bytes("/" + path)
    need(size <= sent <= size + 10, f"{sent} bytes left the server for {size}")
    # The local copy is what is read: the share's object may go away under it.
    share = [each for each in (harness.WORK / "share").glob("objects/*/*") if each.name in objects]
    need(len(share) == 1, f"{len(share)} objects on the share")
    for pod in (first, second, direct):
        pod.unpublish()


@test("fill a-pod-may-choose-copy-where-the-class-lets-it")
def pod_chooses(world):
    size = 700001
    pod = world.node.pod("choice")
    pod.publish(f"{world.hostile.url(f'plain/{size}/chosen')} -> data.bin", storageClass="choice", copyPolicy="copy")
    local = [each for each in (world.node.state / "store" / "objects").glob("*/*") if each.stat().st_size == size]
    need(len(local) == 1, f"{len(local)} local objects")
    pod.unpublish()
    other = world.node.pod("choice")
    size = 700003
    other.publish(f"{world.hostile.url(f'plain/{size}/chosen')} -> data.bin", storageClass="choice", copyPolicy="direct")
    local = [each for each in (world.node.state / "store" / "objects").glob("*/*") if each.stat().st_size == size]
    need(not local, "a local copy of a direct volume")
    other.unpublish()


@test("fill a-tree-of-many-inputs")
def tree(world):
    """Places, directories, names with spaces and unicode, a list in an object; sizes, modes and times."""
    names = {"plain.txt": 10, "with%20space.txt": 2000, "%C3%BCmlaut.bin": 70000, "plus+sign": 5, "empty": 0}
    lines = [f"{world.hostile.url(f'plain/{size}/{name}')} -> deep/er/" for name, size in names.items()]
    lines.append(f"{world.hostile.url('plain/33/renamed')} -> top level name.txt" if False else f"{world.hostile.url('plain/33/renamed')} -> other-name.txt")
    list_url = world.file("lists/tree.txt", ("# a list\n\n" + "\n".join(lines) + "\n").encode())
    pod = world.node.pod("tree")
    pod.publish(inputsFrom=list_url)
    found = sorted(str(each.relative_to(pod.target)) for each in pod.target.rglob("*") if each.is_file())
    need(found == sorted(["deep/er/plain.txt", "deep/er/with space.txt", "deep/er/ümlaut.bin", "deep/er/plus+sign", "deep/er/empty", "other-name.txt"]), found)
    for name, size in names.items():
        place = {"with%20space.txt": "with space.txt", "%C3%BCmlaut.bin": "ümlaut.bin"}.get(name, name)
        need(pod.read(f"deep/er/{place}") == hostile.content(size, name), name)
        status = (pod.target / "deep/er" / place).stat()
        need(status.st_mode & 0o777 == 0o444 and status.st_size == size, f"{name}: {oct(status.st_mode)} {status.st_size}")
        need(int(status.st_mtime) == 1735726830, f"{name}: mtime {status.st_mtime}")
    need((pod.target / "deep").stat().st_mode & 0o777 in (0o555, 0o755), oct((pod.target / "deep").stat().st_mode))
    pod.unpublish()
    pod.nothing_left()


@test("fill a-reader-without-rights-reads")
def plain_user(world):
    """A pod's process is rarely root."""
    pod = world.node.pod("user")
    pod.publish(world.file("user.txt", b"for everybody"))
    results = []

    def read_as_nobody():
        # Credentials and capabilities are each thread's own on Linux.
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        results.append(libc.syscall(119, 65534, 65534, 65534))
        results.append(libc.syscall(117, 65534, 65534, 65534))
        descriptor = os.open(str(directory) + "/user.txt", os.O_RDONLY)
        results.append(os.read(descriptor, 100))
        os.close(descriptor)
    # The kubelet's parent directories are closed to others; a pod sees the volume through its own mount.
    descriptor = os.open(pod.target, os.O_PATH)
    directory = f"/proc/self/fd/{descriptor}"
    thread = threading.Thread(target=read_as_nobody)
    thread.start()
    thread.join()
    os.close(descriptor)
    need(results[-1:] == [b"for everybody"], results)
    pod.unpublish()


@test("fill sha256-right-and-already-there")
def right_digest(world):
    size, path = 500000, "plain/500000/right"
    inputs = f"{world.hostile.url(path)} -> data.bin sha256={hostile.sha256(size, 'right')}"
    for _ in range(2):
        pod = world.node.pod("right")
        pod.publish(inputs)
        need(pod.read("data.bin") == hostile.content(size, "right"), "contents")
        pod.unpublish()
    need(world.hostile.body_bytes("/" + path) <= size + 10, "downloaded twice")


@test("fill objects-without-a-strong-validator")
def validators(world):
    """Last-Modified is shared while it is the same; nothing at all is never shared between volumes."""
    for kind, most in (("no-etag", 1), ("weak-etag", 1), ("no-validator", 2)):
        path = f"{kind}/200000/{kind}"
        for _ in range(2):
            pod = world.node.pod("validator")
            pod.publish(f"{world.hostile.url(path)} -> data.bin")
            need(pod.read("data.bin") == hostile.content(200000, kind), kind)
            pod.unpublish()
        sent = world.hostile.body_bytes("/" + path)
        need(200000 * most <= sent <= 200000 * most + 20, f"{kind}: {sent} bytes left the server")
