"""Rows 102 to 104, 106, 109, 110: limits, and what happens at them."""

import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import csi_pb2
import harness
from harness import Code, Node, expect, need, test, wait_until

MIB = 1 << 20


@test("row-102 limits-of-a-volume")
def limits(world):
    """Each limit has its own message; nothing is left behind, and the next volume works."""
    url = world.file("limit.bin", b"x" * 700000)
    other = world.file("limit-2.bin", b"y" * 700000)
    pod = world.node.pod("bytes")
    pod.final(Code.RESOURCE_EXHAUSTED, lambda: pod.publish(f"{url}\n{other}", storageClass="small"), "maxBytes|1.0 MiB|1048576")
    pod.publish(url, storageClass="small")
    pod.unpublish()
    few = {**harness.LOOPBACK, "maxFiles": "2"}
    world.node.add_class("few", few)
    pod = world.node.pod("files")
    third = world.file("limit-3.bin", b"z")
    pod.final(Code.RESOURCE_EXHAUSTED, lambda: pod.publish(f"{url}\n{other}\n{third}", storageClass="few"), "3 files", "allows 2")


@test("row-102 a-list-that-is-too-long")
def long_list(world):
    lines = "".join(f"{world.nginx.url('limit-3.bin')} -> d/{number}\n" for number in range(10001))
    url = world.file("lists/long.txt", lines.encode())
    pod = world.node.pod("list")
    pod.final((Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT), lambda: pod.publish(inputsFrom=url), "10000|10,000")
    huge = world.file("lists/huge.txt", b"# comment\n" * 600000)
    pod.final((Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT), lambda: pod.publish(inputsFrom=huge), "4.0 MiB|4194304|inputsFrom")


@test("row-103 descriptors-run-out")
def descriptors(world):
    """The plugin may open 128: connections beyond are not served, it does not spin, and it recovers."""
    with Node("fds", wrap=("prlimit", "--nofile=128:128")) as node:
        held = []
        for _ in range(300):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(1)
            try:
                connection.connect(str(node.socket))
            except OSError:
                connection.close()
                break
            held.append(connection)
        before = cpu_seconds(node.process.pid)
        time.sleep(1.5)
        spent = cpu_seconds(node.process.pid) - before
        need(spent < 0.5, f"{spent} s of processor time in 1.5 s: the accept loop spins")
        for connection in held:
            connection.close()
        wait_until(node.is_ready, 15, "served again after the flood")
        pod = node.pod("after")
        pod.publish(world.file("ordinary.txt", b"ordinary"))
        pod.unpublish()


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@test("row-103 threads-run-out")
def threads(world):
    """No new thread (RLIMIT_AS leaves no room for stacks): calls fail with a code that is retried, and work again later."""
    with Node("threads") as node:
        pid = str(node.process.pid)
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        now = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSize"))
        pod = node.pod("threads")
        url = world.file("ordinary.txt", b"ordinary")
        channel = node.connect(("grpc.use_local_subchannel_pool", 1))
        node.call("Probe", csi_pb2.ProbeRequest(), channel=channel)
        subprocess.run(["prlimit", "--pid", pid, f"--as={now + 65536}:unlimited"], check=True)
        codes = set()
        for _ in range(5):
            try:
                node.call("NodePublishVolume", pod.request(url), channel=channel, timeout=10)
                codes.add("OK")
            except harness.grpc.RpcError as error:
                codes.add(error.code().name)
        subprocess.run(["prlimit", "--pid", pid, "--as=unlimited:unlimited"], check=True)
        need(codes <= {"OK", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"}, codes)
        need(node.process.poll() is None, "the plugin ended")
        wait_until(node.is_ready, 15, "ready again")
        pod.publish_as_kubelet(url)
        pod.unpublish()


@test("row-104 mounts-at-the-limit")
def mount_max(world):
    """A mount namespace filled to fs.mount-max, by bind mounts that double."""
    script = """
        mkdir -p "$1"; mount -t tmpfs none "$1"; mkdir "$1/a"; mount --bind "$1" "$1/a" 2>/dev/null
        for step in $(seq 40); do mkdir -p "$1/d$step" 2>/dev/null; mount --rbind "$1" "$1/d$step" 2>/dev/null || break; done
        for step in $(seq 100000); do mount -t tmpfs none "$1" 2>/dev/null || break; done
        shift; exec "$@"
    """
    limit = int(pathlib.Path("/proc/sys/fs/mount-max").read_text())
    with Node("mounts") as node:
        pod = node.pod("before")
        pod.publish(world.file("ordinary.txt", b"ordinary"))
        pod.unpublish()
    node = Node("mounts", wrap=("unshare", "--mount", "--propagation", "private", "bash", "-c", script, "fill", str(harness.WORK / "many")))
    with node:
        count = sum(1 for _ in open(f"/proc/{node.process.pid}/mountinfo"))
        need(count > limit - 10, f"{count} mounts of {limit}: not full")
        pod = node.pod("full")
        expect(Code.RESOURCE_EXHAUSTED, lambda: pod.publish(world.nginx.url("ordinary.txt")), "mount")
        need(not os.path.lexists(pod.target), "the target is still there")
        need(not list((node.state / "volumes").iterdir()), "a record is left")
        pod.unpublish()


@test("row-106 the-node-disk-is-full")
def disk_full(world):
    """copy: the share holds it, the node's disk of 64 MiB does not. The copy goes, other volumes stay."""
    state = harness.WORK / "small-disk"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "small", state], check=True)
    share = harness.WORK / "share-106"
    share.mkdir()
    classes = {"copy": {**harness.LOOPBACK, "copyPolicy": "copy", "shareType": "local", "share": str(share)},
               "direct": {**harness.LOOPBACK, "shareType": "local", "share": str(share)}}
    with Node("disk", classes, state_dir=state / "state") as node:
        small, large = world.hostile.url("plain/1000000/fits"), world.hostile.url("plain/100000000/too-large")
        first = node.pod("fits")
        first.publish(small)
        before = shutil.disk_usage(state).used
        pod = node.pod("too-large")
        pod.final(Code.RESOURCE_EXHAUSTED, lambda: pod.publish(large, timeout=100), "input 1|free|space|full")
        need(shutil.disk_usage(state).used <= before + MIB, f"{shutil.disk_usage(state).used - before} bytes of a partial copy are left")
        need(len(first.read("fits")) == 1000000, "the other volume")
        # The same from the share: it holds the object already, so nothing leaves the source again.
        sent = world.hostile.body_bytes("/plain/100000000/too-large")
        direct = node.pod("direct")
        direct.publish_as_kubelet(large, storageClass="direct")
        need(world.hostile.body_bytes("/plain/100000000/too-large") <= max(sent, 100000000) + 10, "downloaded again")
        direct.unpublish()
        first.unpublish()
    subprocess.run(["umount", state], check=True)


@test("row-106 the-store-is-full")
def store_full(world):
    state = harness.WORK / "small-store"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "small", state], check=True)
    with Node("store", state_dir=state / "state") as node:
        before = shutil.disk_usage(state).used
        pod = node.pod("too-large")
        pod.final(Code.RESOURCE_EXHAUSTED, lambda: pod.publish(world.hostile.url("plain/60000000/too-large-2"), timeout=100), "input 1|free|space|full")
        need(world.hostile.body_bytes("/plain/60000000/too-large-2") <= 10, "downloaded though it cannot fit")
        # No length stated: it shows only on the way.
        pod = node.pod("unstated")
        pod.final(Code.RESOURCE_EXHAUSTED, lambda: pod.publish(world.hostile.url("chunked/60000000/unstated"), timeout=100), "input 1|free|space|full")
        need(shutil.disk_usage(state).used <= before + MIB, "a partial download is left")
        pod = node.pod("fits")
        pod.publish(world.hostile.url("plain/1000000/fits-2"))
        pod.unpublish()
    subprocess.run(["umount", state], check=True)


@test("row-109 idle-connections-and-a-slow-client", slow=True)
def idle_connections(world):
    """As many connections as we may open; a client that sends one byte of a frame. kubelet is served all the while."""
    with Node("idle", wrap=("prlimit", "--nofile=1024:4096")) as node:
        stop, held = threading.Event(), []
        slow = socket.socket(socket.AF_UNIX)
        slow.connect(str(node.socket))
        slow.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0")

        def flood():
            while not stop.is_set() and len(held) < 10000:
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(0.2)
                try:
                    connection.connect(str(node.socket))
                    held.append(connection)
                except OSError:
                    connection.close()
                    stop.wait(0.05)
        flooder = threading.Thread(target=flood)
        flooder.start()
        latencies = []
        for number in range(10):
            channel = node.connect(("grpc.use_local_subchannel_pool", 1))
            started = time.monotonic()
            node.call("Probe", csi_pb2.ProbeRequest(), timeout=20, channel=channel, wait_for_ready=True)
            latencies.append(time.monotonic() - started)
            channel.close()
            wait_until(lambda n=number: stop.is_set() or len(held) > min(800, 80 * n) or not flooder.is_alive(), 10, "the flood")
        stop.set()
        flooder.join()
        count = len(os.listdir(f"/proc/{node.process.pid}/fd"))
        need(count < 1100, f"{count} descriptors")
        need(max(latencies) < 10, f"a probe took {max(latencies):.1f} s")
        for connection in (*held, slow):
            connection.close()


@test("row-110 retries-do-not-flood-the-log")
def log_volume(world):
    with Node("log") as node:
        pod = node.pod("flood")
        url = world.hostile.url("status:404/0/flood") + " -> x"
        for _ in range(100):
            pod.final(Code.NOT_FOUND, lambda: pod.publish(url))
        lines = [line for line in node.log().splitlines() if pod.volume in line]
        need(1 <= len(lines) <= 10, f"{len(lines)} lines for 100 failures of one volume:\n" + "\n".join(lines[:5]))
        need(len(node.log()) < 20000, f"{len(node.log())} bytes of log")
        # Another volume's first failure is told all the same.
        other = node.pod("other")
        other.final(Code.NOT_FOUND, lambda: other.publish(url))
        need(other.volume in node.log(), "the other volume's failure is not in the log")
