"""Rows 41 and 42: names whose addresses change between a look and the next, names of several addresses, names that nobody answers for."""

import contextlib
import os
import signal
import socket
import threading
import time

import harness
import hostile
import resolver
from harness import Code, expect, need, test, wait_until

SERVER, FORBIDDEN, METADATA = "127.0.0.1", "127.0.0.2", "169.254.169.254"
# The first look finds a server that is allowed, every later one what is not.
ZONE = {"loopback.test": lambda number: [SERVER if number == 1 else FORBIDDEN],
        "metadata.test": lambda number: [SERVER if number == 1 else METADATA],
        "mixed.test": ["::1", SERVER, FORBIDDEN],  # getaddrinfo sorts them like this, too
        "silent.test": None}


class Forbidden:
    """Listens where nobody may connect to: at a port of FORBIDDEN, and of ::1 where there is IPv6."""

    def __init__(self, port=0):
        self.listeners, self.seen = [socket.create_server((FORBIDDEN, port))], []
        self.port = self.listeners[0].getsockname()[1]
        with contextlib.suppress(OSError):
            self.listeners.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        for listener in self.listeners:
            threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for listener in self.listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                connection, peer = listener.accept()
                self.seen.append(peer)
                connection.close()


class Names:
    """A plugin that has its names from our server and may talk to one address only, and who listens beside that address."""

    def __init__(self, name):
        self.server = hostile.HostileServer(harness.WORK / f"{name}.log", host=SERVER)
        self.stack = contextlib.ExitStack()
        self.stack.callback(self.server.stop)
        self.beside = self.stack.enter_context(Forbidden(self.server.port))
        self.alone = self.stack.enter_context(Forbidden())  # at its port the allowed address has no server
        self.resolver = self.stack.enter_context(resolver.Resolver(ZONE, harness.WORK / name))
        classes = {"one": {"allowedAddresses": f"{SERVER}/32"}}
        self.node = self.stack.enter_context(harness.Node(name, classes, wrap=self.resolver.wrap()))

    def __enter__(self):
        return self

    def __exit__(self, *exit_):
        self.stack.__exit__(*exit_)

    def nobody_came(self):
        need(not self.beside.seen and not self.alone.seen, "somebody connected to an address that is not allowed")


@test("row-41 rebinding", slow=True)
def rebinding(_):
    with Names("rebinding") as names:
        for host, word in (("loopback.test", "loopback"), ("metadata.test", "metadata")):
            first = names.node.pod("first")
            with contextlib.suppress(harness.grpc.RpcError):  # whether it looks once or more often is libcurl's affair
                first.publish(names.server.url("plain/1000/first", host=host) + " -> x")
            names.nobody_came()
            need(names.server.requests("/plain/1000/first"), "the first answer was not used")
            # Another fetcher has no name in any cache.
            before = names.node.children()["fetcher"]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda old=before: names.node.children().get("fetcher") not in (None, old), 10, "another fetcher")
            second = names.node.pod("second")
            expect(Code.PERMISSION_DENIED, lambda pod=second, name=host: pod.publish(names.server.url("plain/1000/second", host=name) + " -> x"),
                   "not allowed", word)
            need(names.resolver.queries[host, resolver.A] >= 2, f"{names.resolver.queries}")
            names.nobody_came()
            first.unpublish()


@test("row-41 one-of-several-addresses", slow=True)
def several(_):
    """Those that are not allowed are passed over, also when the allowed one does not answer."""
    with Names("several") as names:
        pod = names.node.pod("several")
        pod.publish(names.server.url("plain/1000/mixed", host="mixed.test") + " -> x")
        pod.unpublish()
        need(names.server.requests("/plain/1000/mixed"), "not from the allowed address")
        expect(Code.UNAVAILABLE, lambda: names.node.pod("alone").publish(f"http://mixed.test:{names.alone.port}/a -> x"), "connect")
        names.nobody_came()


@test("row-42 resolver-that-never-answers", slow=True)
def silent(_):
    with Names("silent") as names:
        started = time.monotonic()
        expect(Code.UNAVAILABLE, lambda: names.node.pod("silent").publish(names.server.url("a", host="silent.test")), "cannot resolve host 'silent.test'")
        need(time.monotonic() - started < 45, f"{time.monotonic() - started:.0f} s")
        need(names.resolver.queries["silent.test", resolver.A] >= 2, "asked once only")
