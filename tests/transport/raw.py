"""Bytes that no honest client sends, and clients that are too many or too slow. Raw frames over plain sockets."""

import os
import pathlib
import select
import socket
import struct
import subprocess
import sys
import time

import grpc

from harness import SERVER, WORK, Server, main, need, server, test, until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
MIB = 1 << 20


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field without indexing and Huffman code."""
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(path=b"/test.Test/Echo", *more):
    return b"\x83\x86" + literal(b":path", path) + literal(b"content-type", b"application/grpc") + b"".join(more)


def message(data):
    return b"\0" + struct.pack(">I", len(data)) + data


def connect(running):
    client = socket.socket(socket.AF_UNIX)
    client.connect(running.path)
    client.settimeout(20)
    return client


def start(running, settings=b""):
    client = connect(running)
    client.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
    return client


def call(running, request=b"served"):
    """A call as kubelet makes it, on a connection of its own."""
    with grpc.insecure_channel(f"unix://{running.path}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        reply = channel.unary_unary("/test.Test/Echo")(request, timeout=20, wait_for_ready=True)
        need(reply == request, reply)


def send_until_closed(client, data):
    """Sends while the server takes it; returns how much it took and what it said, and insists that it hangs up."""
    said, sent = b"", 0
    try:
        client.setblocking(False)
        while True:
            readable, writable, _ = select.select([client], [client] if sent < len(data) else [], [], 20)
            need(readable or writable, "the connection stays open")
            if readable:
                got = client.recv(65536)
                if not got:
                    return sent, said
                said += got
            if writable:
                sent += client.send(data[sent:sent + 65536])
    except (ConnectionResetError, BrokenPipeError):
        return sent, said


def flood(name, make):
    @test(f"raw/row-19-{name}")
    def _():
        with server(name) as running:
            call(running)
            before = running.rss()
            client = start(running)
            _, said = send_until_closed(client, make())
            client.close()
            need(len(said) < 64 * 1024, f"it wrote {len(said)} bytes")
            call(running)
            need(running.rss() - before < 8 * MIB, lambda: f"{(running.rss() - before) / MIB:.1f} MiB more")


flood("10k-resets", lambda: b"".join(frame(HEADERS, 4, 2 * i + 1, head()) + frame(RST_STREAM, 0, 2 * i + 1, b"\0\0\0\x08")
                                     for i in range(10_000)))
flood("continuations", lambda: frame(HEADERS, 0, 1, head()) + frame(CONTINUATION, 0, 1) * 200_000)
flood("full-continuations", lambda: frame(HEADERS, 0, 1, head()) + frame(CONTINUATION, 0, 1, literal(b"x" * 100, b"y" * 100) * 80) * 2000)
flood("settings", lambda: frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff") * 20_000)
flood("pings", lambda: frame(PING, 0, 0, b"12345678") * 20_000)
flood("empty-data", lambda: frame(HEADERS, 4, 1, head()) + frame(DATA, 0, 1) * 100_000)


@test("raw/row-19-http-1.1-and-garbage")
def _():
    with server("http1") as running:
        for bad in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(300), b"\0" * 100):
            client = connect(running)
            send_until_closed(client, bad)
            client.close()
        call(running)


@test("raw/row-19-missing-te-split-frames")
def _():
    with server("split") as running:
        client = start(running)
        for byte in frame(HEADERS, 4, 1, head()) + frame(DATA, 0, 1, message(b"hello")[:3]) + frame(DATA, 1, 1, message(b"hello")[3:]):
            client.sendall(bytes([byte]))
        said = b""
        while b"hello" not in said:
            said += client.recv(4096)
        client.close()


@test("raw/row-109-10k-idle-connections")
def _():
    with server("idle") as running, grpc.insecure_channel(f"unix://{running.path}") as kubelet:
        echo = kubelet.unary_unary("/test.Test/Echo")
        need(echo(b"x", timeout=20) == b"x", "before")
        clients = []
        for number in range(10_000):
            clients.append(connect(running))
            if number % 1000 == 0:
                need(echo(b"x", timeout=20) == b"x", "an old connection")
                call(running)
        need(echo(b"x", timeout=20) == b"x", "the old connection at the end")
        call(running)
        need(running.descriptors() < 200, f"{running.descriptors()} descriptors")
        need(running.rss() < 64 * MIB, f"{running.rss() / MIB:.1f} MiB")
        for client in clients:
            client.close()


@test("raw/row-103-no-descriptors-left")
def _():
    with server("emfile", files_max=40) as running:
        clients = [start(running) for _ in range(100)]  # idle ones make room when there is no descriptor
        call(running)
        need(running.descriptors() <= 40, running.descriptors())
        for client in clients:
            client.close()
        until(lambda: running.descriptors() <= 8, "the idle ones are gone")
        # All at work, two descriptors each: a new one waits, without the server spinning, and is served when one goes.
        busy = []
        while running.descriptors() + 2 <= 40:
            before = running.descriptors()
            busy.append(start(running))
            busy[-1].sendall(frame(HEADERS, 4, 1, head(b"/test.Test/Wait")) + frame(DATA, 1, 1, message(b"")))
            until(lambda: running.descriptors() == before + 2, "the call is at work")
        if running.descriptors() < 40:  # an odd one left: a connection of which no call can be served
            busy.append(start(running))
            until(lambda: running.descriptors() == 40, "none left")
            busy[-1].sendall(frame(HEADERS, 4, 1, head(b"/test.Test/Wait")) + frame(DATA, 1, 1, message(b"")))
            need(b"14" in busy[-1].recv(4096) + busy[-1].recv(4096), "UNAVAILABLE")
        late = start(running)
        before = running.cpu()
        time.sleep(1)
        need(running.cpu() - before < 0.2, f"{running.cpu() - before:.2f} s of processor time in a second")
        for client in busy:
            client.close()
        need(late.recv(9), "the late one is greeted")
        call(running)


@test("raw/row-109-client-that-does-not-read")
def _():
    with server("slow") as running:
        window = struct.pack(">HI", 4, 0x7fffffff)
        client = start(running, window)
        client.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fff0000 - 65535)))
        before = running.rss()
        body = message(bytes(15_000))
        client.setblocking(False)
        stuck = False
        for number in range(4000):
            request = frame(HEADERS, 4, 2 * number + 1, head()) + frame(DATA, 1, 2 * number + 1, body)
            _, writable, _ = select.select([], [client], [], 2)
            if not writable:
                stuck = True
                break
            try:
                client.send(request)
            except BlockingIOError:
                stuck = True
                break
        need(stuck, "the server takes any amount while nobody reads its answers")
        need(running.rss() - before < 16 * MIB, f"{(running.rss() - before) / MIB:.1f} MiB held")
        call(running)
        client.close()


STRANGER = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(20)
client.connect(sys.argv[1])
try:
    print(client.recv(100))
except ConnectionResetError:
    print(b"")
"""


@test("raw/other-users-are-refused")
def _():
    with server("peer") as running:
        WORK.chmod(0o755)
        pathlib.Path(running.path).chmod(0o777)
        for user, said in ((65534, "b''"), (0, "b'\\x00")):  # root is greeted with SETTINGS
            other = subprocess.run([sys.executable, "-c", STRANGER, running.path], user=user, capture_output=True, text=True, timeout=30)
            need(other.returncode == 0 and other.stdout.startswith(said), other)
        call(running)


@test("raw/mode-live-and-stale-sockets")
def _():
    killed = Server("mode")
    need(pathlib.Path(killed.path).stat().st_mode & 0o777 == 0o600, "mode")
    second = subprocess.run([SERVER, killed.path], capture_output=True, text=True, timeout=20)
    need(second.returncode == 1 and "another process listens" in second.stderr, second)
    call(killed)
    killed.process.kill()
    killed.process.wait(30)
    need(pathlib.Path(killed.path).is_socket(), "the killed one left its socket")
    with server("mode") as again:
        call(again)
    need(not pathlib.Path(again.path).exists(), "a clean end removes the socket")


main(sys.argv[1:])
