"""Python's grpcio (gRPC's C core) as the client: what a CSI driver's callers in Python, C++ and Ruby do on the wire."""

import concurrent.futures
import json
import os
import sys
import threading
import time

import grpc

from harness import MEMORY_FACTOR, main, need, server, test, until

Code = grpc.StatusCode


def channel(running, *options):
    return grpc.insecure_channel(f"unix://{running.path}", options=[("grpc.use_local_subchannel_pool", 1),
                                                                   ("grpc.max_receive_message_length", 8 << 20), *options])


def call(to, method, request=b"", timeout=20, **options):
    return to.unary_unary(method)(request, timeout=timeout, **options)


def expect(code, to, method, request=b"", word="", **options):
    try:
        reply = call(to, method, request, **options)
    except grpc.RpcError as error:
        need(error.code() == code and word in error.details(), f"want {code}, got {error.code()}: {error.details()}")
    else:
        raise AssertionError(f"want {code}, got {reply[:40]!r}")
    need(call(to, "/test.Test/Echo", b"next") == b"next", "the connection does not serve the next call")


def counts(to):
    return json.loads(call(to, "/test.Test/Count"))


@test("py/connections-and-calls")
def _():
    with server("many") as running:
        channels = [channel(running) for _ in range(8)]

        def work(number):
            request = os.urandom(number * 131 % 90_000)
            for _ in range(10):
                need(call(channels[number % 8], "/test.Test/Echo", request) == request, "another reply")

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            list(pool.map(work, range(120)))
        for each in channels:
            each.close()


@test("py/row-18-large-compressed-malformed")
def _():
    with server("bodies") as running, channel(running) as to:
        need(len(call(to, "/test.Test/Echo", bytes(1 << 20))) == 1 << 20, "1 MiB")
        expect(Code.RESOURCE_EXHAUSTED, to, "/test.Test/Echo", bytes(2 << 20), "1 MiB")
        expect(Code.UNIMPLEMENTED, to, "/test.Test/Echo", bytes(1000), compression=grpc.Compression.Gzip)
        expect(Code.INTERNAL, to, "/csi.v1.Node/NodePublishVolume", b"\x0a\x05a")
        expect(Code.INTERNAL, to, "/csi.v1.Node/NodePublishVolume", b"\x08\x01")
        expect(Code.INVALID_ARGUMENT, to, "/csi.v1.Node/NodePublishVolume", b"\x0a\x03a\0b", "volume_id")
        expect(Code.UNIMPLEMENTED, to, "/test.Test/None")


@test("py/messages")
def _():
    with server("messages") as running, channel(running) as to:
        for text in ("29% of it", "zwei\nZeilen, größer", "日本語"):
            expect(Code.ABORTED, to, "/test.Test/Fail", b"BUSY " + text.encode(), text)
        expect(Code.NOT_FOUND, to, "/test.Test/Fail", b"NOT_FOUND " + "é".encode() * 3000, "ééé")


@test("py/deadline-and-cancel")
def _():
    with server("cancel") as running, channel(running) as to:
        started = time.monotonic()
        try:
            call(to, "/test.Test/Wait", timeout=0.3)
            raise AssertionError("it answered")
        except grpc.RpcError as error:
            need(error.code() in (Code.DEADLINE_EXCEEDED, Code.ABORTED), error)
        need(0.2 < time.monotonic() - started < 10, "not at the deadline")
        until(lambda: counts(to)["running"] == 0, "the call ends")
        before = counts(to)["cancelled"]
        future = to.unary_unary("/test.Test/Wait").future(b"", timeout=30)
        until(lambda: counts(to)["running"] == 1, "the call runs")
        future.cancel()
        until(lambda: counts(to) == {"running": 0, "cancelled": before + 1}, "the call is cancelled")


@test("py/row-19-authority")
def _():
    with server("authority") as running:
        for name in (running.path, "localhost", "a.sock"):
            with channel(running, ("grpc.default_authority", name)) as to:
                need(call(to, "/test.Test/Echo", b"x") == b"x", name)


@test("py/drain")
def _():
    with server("drain") as running, channel(running) as to:
        results = []
        thread = threading.Thread(target=lambda: results.append(call(to, "/test.Test/Sleep", b"500")))
        thread.start()
        until(lambda: counts(to)["running"] == 1, "the call runs")
        running.stop()
        thread.join()
        need(results == [b"slept"], results)


@test("py/a-burst-leaves-nothing-behind")
def _():
    with server("burst") as running, channel(running) as to:
        for future in [to.unary_unary("/test.Test/Echo").future(bytes(500_000), timeout=60) for _ in range(50)]:
            need(len(future.result()) == 500_000, "reply")
        for future in [to.unary_unary("/test.Test/Gather").future(b"50", timeout=60) for _ in range(50)]:
            need(future.result() == b"gathered", "reply")
        until(lambda: running.threads() <= 4, "threads end", timeout=60)
        if MEMORY_FACTOR == 1:  # sanitizers have allocators of their own
            until(lambda: running.private() < 4 << 20, "memory goes back", timeout=30)


main(sys.argv[1:])
