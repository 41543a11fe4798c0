"""A web server that misbehaves on purpose, by raw sockets and threads, so that every byte is its own decision.

A path is /<behaviour>[:<argument>...]/<size>/<name>. The object behind it is a function of size and name (see content()),
so that a test knows what must arrive. Every exchange leaves one line of JSON in the log: what was asked, what was sent, and
how many bytes of body really went out. tests/servers/selftest.py proves with curl that each behaviour is what it says.

As a program: hostile.py LOGFILE prints its port and serves until its standard input ends.
"""

import email.utils
import functools
import gzip
import hashlib
import json
import re
import socket
import ssl
import sys
import threading
import time

BEHAVIOURS = {}
SECRET_BODY = b"error-page-body-that-must-never-be-echoed"
LAST_MODIFIED = "Wed, 01 Jan 2025 10:20:30 GMT"
HEADER_MAX = 64 * 1024


def behaviour(name):
    def register(function):
        BEHAVIOURS[name] = function
        return function
    return register


@functools.lru_cache(maxsize=32)
def content(size, name, version=0):
    """The object's bytes."""
    return hashlib.shake_128(f"{name}#{version}".encode()).digest(size)


def sha256(size, name, version=0):
    return hashlib.sha256(content(size, name, version)).hexdigest()


class Gone(Exception):
    """The client closed, or the server stops."""


class Exchange:
    """One request and what is sent for it."""

    def __init__(self, server, connection, method, target, headers):
        self.server, self.connection = server, connection
        self.method, self.target, self.headers = method, target, headers
        path = target.split("?", 1)[0]
        parts = path.split("/", 3)
        self.path = path
        self.behaviour, *self.args = (server.always or (parts[1] if len(parts) > 1 else "")).split(":")
        self.size = int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0
        self.name = parts[3] if len(parts) > 3 else ""
        self.status, self.sent, self.keep, self.record = 0, 0, False, {}
        self.range = self.parse_range()

    def parse_range(self):
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if not match:
            return None
        last = min(int(match.group(2) or self.size), self.size - 1)
        return int(match.group(1)), last

    @property
    def is_probe(self):
        """HEAD, or a range of one byte: asks what is there, and is answered honestly by behaviours of the body."""
        return self.method == "HEAD" or (self.range is not None and self.range[0] == self.range[1])

    def raw(self, data):
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise Gone from error

    def head(self, status, headers=(), reason="Thing", version="HTTP/1.1"):
        self.status = status
        lines = [f"{version} {status} {reason}", f"Date: {email.utils.formatdate(usegmt=True)}"]
        lines += [f"{key}: {value}" for key, value in headers]
        self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def body(self, data):
        if self.method == "HEAD":
            return
        view = memoryview(data)
        while view:
            try:
                count = self.connection.send(view[:65536])
            except OSError as error:
                raise Gone from error
            self.sent += count
            self.record["sent"] = self.sent
            view = view[count:]

    def simple(self, status, headers=(), body=b""):
        self.head(status, [("Content-Length", len(body)), ("Connection", "close"), *headers])
        self.body(body)

    def stall(self):
        """Nothing more until the client goes away."""
        while not self.server.stopping.is_set():
            self.connection.settimeout(0.5)
            try:
                if not self.connection.recv(1):
                    raise Gone
            except socket.timeout:
                continue
            except OSError as error:
                raise Gone from error


def etag_of(exchange, version=None):
    version = exchange.server.version(exchange.name) if version is None else version
    return '"' + hashlib.md5(f"{exchange.name} {exchange.size} {version}".encode()).hexdigest() + '"'


def object_of(exchange):
    return content(exchange.size, exchange.name, exchange.server.version(exchange.name))


def range_applies(exchange, etag):
    if exchange.range is None:
        return False
    wanted = exchange.headers.get("if-range")
    return wanted is None or wanted == etag


def plan(exchange):
    """(status, headers, body) of an honest answer."""
    etag, data = etag_of(exchange), object_of(exchange)
    headers = [("ETag", etag), ("Last-Modified", LAST_MODIFIED), ("Accept-Ranges", "bytes")]
    if exchange.headers.get("if-match", etag) not in (etag, "*"):
        return 412, [("Content-Length", 0)], b""
    if range_applies(exchange, etag):
        first, last = exchange.range
        if first >= exchange.size:
            return 416, [("Content-Range", f"bytes */{exchange.size}"), ("Content-Length", 0)], b""
        headers.append(("Content-Range", f"bytes {first}-{last}/{exchange.size}"))
        data = data[first:last + 1]
        return 206, [*headers, ("Content-Length", len(data))], data
    return 200, [*headers, ("Content-Length", len(data))], data


@behaviour("plain")
def serve_plain(exchange):
    status, headers, data = plan(exchange)
    exchange.keep = True
    exchange.head(status, headers)
    exchange.body(data)


@behaviour("no-etag")
def no_etag(exchange):
    """Last-Modified only: a weak validator."""
    status, headers, data = plan(exchange)
    exchange.head(status, [pair for pair in headers if pair[0] != "ETag"])
    exchange.body(data)


@behaviour("no-validator")
def no_validator(exchange):
    status, headers, data = plan(exchange)
    exchange.head(status, [pair for pair in headers if pair[0] not in ("ETag", "Last-Modified")])
    exchange.body(data)


@behaviour("weak-etag")
def weak_etag(exchange):
    status, headers, data = plan(exchange)
    exchange.head(status, [(key, "W/" + value if key == "ETag" else value) for key, value in headers])
    exchange.body(data)


@behaviour("status")
def status_always(exchange):
    """status:<code>"""
    code = int(exchange.args[0])
    if code in (204, 304):
        exchange.head(code, [("Connection", "close")])
    else:
        exchange.simple(code, body=SECRET_BODY)


@behaviour("flaky")
def flaky(exchange):
    """flaky:<count>:<code>: the first count requests get the code."""
    if exchange.server.count(exchange.path) <= int(exchange.args[0]):
        exchange.simple(int(exchange.args[1]), body=SECRET_BODY)
    else:
        serve_plain(exchange)


@behaviour("retry-after")
def retry_after(exchange):
    """retry-after:<code>:<value>:<count>: value is seconds, "date+<seconds>" or any text; the first count requests."""
    code, value, count = exchange.args
    if exchange.server.count(exchange.path) > int(count):
        return serve_plain(exchange)
    if value.startswith("date+"):
        value = email.utils.formatdate(time.time() + int(value[5:]), usegmt=True)
    exchange.simple(int(code), [("Retry-After", value)], SECRET_BODY)


@behaviour("stall")
def stall(exchange):
    """stall:<bytes>: so many bytes of each body, then nothing."""
    status, headers, data = plan(exchange)
    exchange.head(status, headers)
    if exchange.is_probe:
        return exchange.body(data)
    exchange.body(data[:int(exchange.args[0])])
    exchange.stall()


@behaviour("stall-once")
def stall_once(exchange):
    """As stall, for the first body only."""
    if exchange.is_probe or exchange.server.count(exchange.path) > 1:
        return serve_plain(exchange)
    stall(exchange)


@behaviour("close-early")
def close_early(exchange):
    """close-early:<bytes>: the length is right, the body ends too early, each time."""
    status, headers, data = plan(exchange)
    exchange.head(status, headers)
    exchange.body(data if exchange.is_probe else data[:int(exchange.args[0])])


@behaviour("close-early-once")
def close_early_once(exchange):
    if exchange.is_probe or exchange.server.count(exchange.path) > 1:
        return serve_plain(exchange)
    close_early(exchange)


@behaviour("slow")
def slow(exchange):
    """slow:<bytes a second>, for each connection."""
    status, headers, data = plan(exchange)
    exchange.head(status, headers)
    rate = int(exchange.args[0])
    step = max(1, rate // 10)
    for offset in range(0, len(data), step):
        exchange.body(data[offset:offset + step])
        if exchange.server.stopping.wait(step / rate):
            raise Gone


@behaviour("gate")
def gate(exchange):
    """Half of each body, and the rest when the test opens the gate (server.open_gate(name))."""
    status, headers, data = plan(exchange)
    exchange.head(status, headers)
    if exchange.is_probe:
        return exchange.body(data)
    exchange.body(data[:len(data) // 2])
    exchange.server.gate(exchange.name).wait()
    exchange.body(data[len(data) // 2:])


@behaviour("no-length")
def no_length(exchange):
    """No Content-Length: the body ends with the connection."""
    exchange.head(200, [("Connection", "close"), ("ETag", etag_of(exchange))])
    exchange.body(object_of(exchange))


def chunk(exchange, data):
    if exchange.method == "HEAD":
        return
    exchange.raw(b"%x\r\n" % len(data))
    exchange.body(data)
    exchange.raw(b"\r\n")


def chunked_head(exchange):
    exchange.head(200, [("Transfer-Encoding", "chunked"), ("Connection", "close"), ("ETag", etag_of(exchange))])


@behaviour("chunked")
def chunked(exchange):
    chunked_head(exchange)
    data = object_of(exchange)
    for offset in range(0, len(data), 30000):
        chunk(exchange, data[offset:offset + 30000])
    if exchange.method != "HEAD":
        exchange.raw(b"0\r\n\r\n")


@behaviour("chunked-cut")
def chunked_cut(exchange):
    """Chunked without its end: the connection closes after the data."""
    chunked_head(exchange)
    chunk(exchange, object_of(exchange))


@behaviour("chunked-endless")
def chunked_endless(exchange):
    chunked_head(exchange)
    while exchange.method != "HEAD":
        chunk(exchange, bytes(65536))


@behaviour("endless")
def endless(exchange):
    """No length and no end."""
    exchange.head(200, [("Connection", "close"), ("ETag", etag_of(exchange))])
    while exchange.method != "HEAD":
        exchange.body(bytes(65536))


@behaviour("length")
def length(exchange):
    """length:<text>[:<text>]: these Content-Length lines as they are, then the object's bytes."""
    lines = [("Content-Length", text) for text in exchange.args]
    exchange.head(200, [*lines, ("Connection", "close"), ("ETag", etag_of(exchange)), ("Accept-Ranges", "bytes")])
    exchange.body(object_of(exchange))


@behaviour("etag-changes")
def etag_changes(exchange):
    """The first body breaks off half-way; from then on the object is another one (version 1), which honours If-Match not at all."""
    version = exchange.server.version(exchange.name)
    if exchange.is_probe or version > 0:
        exchange.headers.pop("if-match", None)
        exchange.headers.pop("if-range", None)
        return serve_plain(exchange)
    status, headers, data = plan(exchange)
    exchange.server.bump(exchange.name)
    exchange.head(status, headers)
    exchange.body(data[:len(data) // 2])


@behaviour("wrong-range")
def wrong_range(exchange):
    """The first body breaks off half-way; after that each 206 states and sends other bytes than asked."""
    if exchange.is_probe:
        return serve_plain(exchange)
    status, headers, data = plan(exchange)
    is_first = exchange.server.count(exchange.path) == 1
    if is_first or status != 206:
        exchange.head(status, headers)
        return exchange.body(data[:len(data) // 2] if is_first else data)
    wrong = f"bytes {exchange.range[0] + 1}-{exchange.range[1]}/{exchange.size}"
    data = object_of(exchange)[exchange.range[0] + 1:exchange.range[1] + 1]
    headers = [pair for pair in headers if pair[0] not in ("Content-Range", "Content-Length")]
    exchange.head(206, [*headers, ("Content-Range", wrong), ("Content-Length", len(data))])
    exchange.body(data)


@behaviour("range-ignored")
def range_ignored(exchange):
    """Says that it takes ranges (a probe gets its 206), then answers each range with 200 and the whole; the first body
    breaks off half-way."""
    if exchange.is_probe:
        return serve_plain(exchange)
    exchange.range = None
    exchange.headers.pop("if-range", None)
    status, headers, data = plan(exchange)
    exchange.head(status, headers)
    exchange.body(data[:len(data) // 2] if exchange.server.count(exchange.path) == 1 else data)


@behaviour("no-ranges")
def no_ranges(exchange):
    """An honest server without ranges."""
    exchange.range = None
    status, headers, data = plan(exchange)
    exchange.head(status, [pair for pair in headers if pair[0] != "Accept-Ranges"])
    exchange.body(data)


@behaviour("no-ranges-cut")
def no_ranges_cut(exchange):
    """no-ranges-cut:<bytes>: without ranges, and each body ends too early."""
    exchange.range = None
    status, headers, data = plan(exchange)
    exchange.head(status, [pair for pair in headers if pair[0] != "Accept-Ranges"])
    exchange.body(data[:int(exchange.args[0])])


@behaviour("gzip")
def gzipped(exchange):
    """Compressed though nobody asked."""
    data = gzip.compress(object_of(exchange))
    exchange.simple(200, [("Content-Encoding", "gzip"), ("ETag", etag_of(exchange))], data)


@behaviour("unasked-206")
def unasked_206(exchange):
    """206 with the first half for a request without a Range; what is asked with one is answered with 200."""
    data = object_of(exchange)
    half = data[:len(data) // 2]
    headers = [("ETag", etag_of(exchange)), ("Connection", "close")]
    if exchange.range is None:
        where = ("Content-Range", f"bytes 0-{len(half) - 1}/{len(data)}")
        exchange.head(206, [*headers, where, ("Content-Length", len(half))])
        return exchange.body(half)
    exchange.head(200, [*headers, ("Content-Length", len(data))])
    exchange.body(data)


@behaviour("redirect")
def redirect(exchange):
    """redirect:<code>: to what the query says (to=...); no query, no Location."""
    _, _, query = exchange.target.partition("?to=")
    exchange.simple(int(exchange.args[0]), [("Location", query)] if query else [])


@behaviour("redirect-chain")
def redirect_chain(exchange):
    """redirect-chain:<hops>, then plain."""
    hops = int(exchange.args[0])
    follow = f"redirect-chain:{hops - 1}" if hops > 1 else "plain"
    exchange.simple(302, [("Location", f"/{follow}/{exchange.size}/{exchange.name}")])


@behaviour("redirect-loop")
def redirect_loop(exchange):
    exchange.simple(302, [("Location", exchange.path)])


@behaviour("auth")
def auth(exchange):
    """401 unless some Authorization comes with the request."""
    if "authorization" in exchange.headers:
        serve_plain(exchange)
    else:
        exchange.simple(401, body=SECRET_BODY)


@behaviour("s3-error")
def s3_error(exchange):
    """s3-error:<status>:<code>: an error as S3 words it."""
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{exchange.args[1]}</Code><Message>{SECRET_BODY.decode()}</Message></Error>'
    exchange.simple(int(exchange.args[0]), [("Content-Type", "application/xml")], document.encode())


@behaviour("huge-headers")
def huge_headers(exchange):
    """One header of 1 MiB."""
    exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Big: %s\r\n\r\n" % (exchange.size, b"x" * (1 << 20)))
    exchange.body(object_of(exchange))


@behaviour("many-headers")
def many_headers(exchange):
    exchange.head(200, [(f"X-Header-{number}", "value") for number in range(10000)] + [("Content-Length", exchange.size)])
    exchange.body(object_of(exchange))


@behaviour("endless-headers")
def endless_headers(exchange):
    exchange.raw(b"HTTP/1.1 200 OK\r\n")
    while True:
        exchange.raw(b"X-Endless: " + b"y" * 1000 + b"\r\n")


@behaviour("bad-chunk")
def bad_chunk(exchange):
    chunked_head(exchange)
    if exchange.method != "HEAD":
        exchange.raw(b"xyz\r\nhello\r\n0\r\n\r\n")


@behaviour("nul-header")
def nul_header(exchange):
    exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: \"a\0b\"\r\nConnection: close\r\n\r\n" % exchange.size)
    exchange.body(object_of(exchange))


@behaviour("http09")
def http09(exchange):
    """A body without any header."""
    exchange.raw(b"just some text, no status line at all\n" * 10)


@behaviour("garbage")
def garbage(exchange):
    exchange.raw(bytes(range(128, 256)) * 64)


@behaviour("reset")
def reset(exchange):
    """RST instead of an answer."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class HostileServer:
    def __init__(self, log_path, tls=None, host="127.0.0.1", always=None):
        """tls: (certificate, key) files. always: a behaviour with its arguments for every path."""
        self.always = always
        self.listener = socket.create_server((host, 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.counts, self.versions, self.gates, self.records = {}, {}, {}, []
        self.log = open(log_path, "a", buffering=1)
        threading.Thread(target=self.accept_loop, daemon=True).start()

    def url(self, path, host="127.0.0.1"):
        return f"{'https' if self.context else 'http'}://{host}:{self.port}/{path.lstrip('/')}"

    def count(self, key):
        with self.lock:
            self.counts[key] = self.counts.get(key, 0) + 1
            return self.counts[key]

    def version(self, name):
        with self.lock:
            return self.versions.get(name, 0)

    def bump(self, name):
        """From now on the object has other bytes and another ETag."""
        with self.lock:
            self.versions[name] = self.versions.get(name, 0) + 1

    def gate(self, name):
        with self.lock:
            return self.gates.setdefault(name, threading.Event())

    def open_gate(self, name):
        self.gate(name).set()

    def requests(self, path):
        """What was asked of this path so far, oldest first."""
        with self.lock:
            return [record for record in self.records if record["path"] == path]

    def body_bytes(self, path):
        return sum(record["sent"] for record in self.requests(path))

    def stop(self):
        self.stopping.set()
        with self.lock:
            gates = list(self.gates.values())
        for each in gates:
            each.set()
        self.listener.close()

    def accept_loop(self):
        while not self.stopping.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            while self.serve_one(connection):
                pass
        except (OSError, Gone, ValueError):
            pass
        finally:
            connection.close()

    def serve_one(self, connection):
        head = read_head(connection)
        if not head:
            return False
        request_line, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = request_line.split(" ", 2)
        headers = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines if line)}
        exchange = Exchange(self, connection, method, target, headers)
        started = time.time()
        record = {"path": exchange.path, "target": target, "method": method, "range": headers.get("range"), "time": started,
                  "headers": sorted(headers), "if_match": headers.get("if-match"), "if_range": headers.get("if-range"),
                  "cache_control": headers.get("cache-control"), "authorized": "authorization" in headers,
                  "status": 0, "sent": 0, "done": False}
        exchange.record = record
        with self.lock:
            self.records.append(record)
        try:
            BEHAVIOURS.get(exchange.behaviour, lambda e: e.simple(404))(exchange)
        finally:
            record.update(status=exchange.status, sent=exchange.sent, seconds=time.time() - started, done=True)
            self.log.write(json.dumps(record) + "\n")
        return exchange.keep and headers.get("connection", "").lower() != "close"


def read_head(connection):
    """Up to the blank line; nothing when the client closed first."""
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > HEADER_MAX:
            raise Gone
        data = connection.recv(4096)
        if not data:
            return b""
        head += data
    return head.split(b"\r\n\r\n", 1)[0]


class TlsReset:
    """Accepts, reads what the client says first, and resets."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()


def closed_port():
    """A port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


if __name__ == "__main__":
    SERVER = HostileServer(sys.argv[1])
    print(SERVER.port, flush=True)
    sys.stdin.read()
    SERVER.stop()
