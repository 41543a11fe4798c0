"""Rows 102 to 104, 106, 109, 110: limits, and what happens at them."""

import os
import pathlib
import shutil
import socket
import subprocess
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
    pod.final((Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT), lambda: pod.publish(inputsFrom=huge), "at most 4194304 are read")


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
        subprocess.run(["prlimit", "--pid", pid, f"--as={now + 65536}:unlimited"], check=True, timeout=60)
        codes = set()
        for _ in range(5):
            try:
                node.call("NodePublishVolume", pod.request(url), channel=channel, timeout=10)
                codes.add("OK")
            except harness.grpc.RpcError as error:
                codes.add(error.code().name)
        subprocess.run(["prlimit", "--pid", pid, "--as=unlimited:unlimited"], check=True, timeout=60)
        need(codes <= {"OK", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"}, codes)
        need(node.process.poll() is None, "the plugin ended")
        wait_until(node.is_ready, 15, "ready again")
        pod.publish_as_kubelet(url)
        pod.unpublish()


FILL_MOUNTS = """
    mkdir -p "$1" && mount -t tmpfs many "$1" || exit 1
    for step in $(seq 40); do mkdir "$1/d$step"; mount --rbind "$1" "$1/d$step" 2>/dev/null || break; done
    # The last doubling did not fit: smaller and smaller pieces do.
    for step in $(seq $step -1 1); do mkdir "$1/e$step"; mount --rbind "$1/d$step" "$1/e$step" 2>/dev/null; done
    for step in 1 2 3 4 5; do mkdir "$1/f$step"; mount -t tmpfs many "$1/f$step" 2>/dev/null || exit 0; done
"""


@test("row-104 mounts-at-the-limit", slow=True)
def mount_max(world):
    """The plugin's mount namespace is filled to fs.mount-max, by bind mounts that double."""
    limit = int(pathlib.Path("/proc/sys/fs/mount-max").read_text())
    url = world.file("ordinary.txt", b"ordinary")
    with Node("mounts", wrap=("unshare", "--mount", "--propagation", "private")) as node:
        first, full = node.pod("first"), node.pod("full")
        first.publish(url)
        fill = ["nsenter", "--mount", "--target", str(node.process.pid), "bash", "-c", FILL_MOUNTS, "fill", str(harness.WORK / "many")]
        subprocess.run(fill, check=True, timeout=300)
        count = sum(1 for _ in open(f"/proc/{node.process.pid}/mountinfo"))
        need(count > limit - 10, f"{count} mounts of {limit}: not full")
        expect(Code.RESOURCE_EXHAUSTED, lambda: full.publish(url, timeout=60), "mount")
        need(not os.path.lexists(full.target), "the target is still there")
        need(len(list((node.state / "volumes").iterdir())) == 1, "a record of the refused volume is left")
        # Unpublish works at the limit too, and makes room.
        first.unpublish(timeout=60)
        full.publish(url, timeout=60)
        full.unpublish(timeout=60)


@test("row-106 the-node-disk-is-full")
def disk_full(world):
    """copy: the share holds it, the node's disk of 64 MiB does not. The copy goes, other volumes stay."""
    state = harness.WORK / "small-disk"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "small", state], check=True, timeout=60)
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
    subprocess.run(["umount", state], check=True, timeout=60)


@test("row-106 the-store-is-full")
def store_full(world):
    state = harness.WORK / "small-store"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "small", state], check=True, timeout=60)
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
    subprocess.run(["umount", state], check=True, timeout=60)


@test("row-109 idle-connections-and-a-slow-client")
def idle_connections(world):
    """10,000 connections that say nothing, and one that stops in the middle of a frame. kubelet is served all the while."""
    with Node("idle") as node:
        held = [socket.socket(socket.AF_UNIX)]
        held[0].connect(str(node.socket))
        held[0].sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0")
        latencies = []
        for _ in range(20):
            for _ in range(500):
                held.append(socket.socket(socket.AF_UNIX))
                held[-1].settimeout(10)
                held[-1].connect(str(node.socket))
                # What the plugin has closed need not be held here.
                if len(held) > 800:
                    held.pop(0).close()
            channel = node.connect(("grpc.use_local_subchannel_pool", 1))
            started = time.monotonic()
            node.call("Probe", csi_pb2.ProbeRequest(), timeout=20, channel=channel)
            latencies.append(time.monotonic() - started)
            channel.close()
        need(max(latencies) < 5, f"a probe took {max(latencies):.1f} s")
        count = len(os.listdir(f"/proc/{node.process.pid}/fd"))
        need(count < 400, f"{count} descriptors: connections are not capped")
        for connection in held:
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
