"""Proves with curl, and with a raw socket where curl hides too much, that each behaviour of hostile.py is what it says.
run(server) yields (name, complaint or None)."""

import gzip
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

import hostile
import nginx

SIZE = 200000


def curl(url, *options):
    """(exit status, status code, body bytes, headers as text)"""
    command = ["curl", "-sS", "-m", "4", "-o", "-", "-D", "/dev/stderr", *options, url]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    head = done.stderr.decode("latin-1")
    codes = re.findall(r"^HTTP/[\d.]+ (\d+)", head, re.M)
    return done.returncode, int(codes[-1]) if codes else 0, done.stdout, head


def raw(server, path, method="GET", extra="", limit=3 << 20, seconds=3.0):
    """What comes over the wire, byte for byte."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(seconds)
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{extra}Connection: close\r\n\r\n".encode())
        data = b""
        try:
            while len(data) < limit:
                more = connection.recv(65536)
                if not more:
                    break
                data += more
        except (socket.timeout, ConnectionResetError):
            pass
    return data


def need(condition, text):
    if not condition:
        raise AssertionError(text)


def whole(name):
    return hostile.content(SIZE, name)


def test_plain(server):
    url = server.url(f"plain/{SIZE}/p")
    code, status, body, head = curl(url)
    need((code, status, body) == (0, 200, whole("p")), f"{code} {status} {len(body)}")
    etag = re.search(r"ETag: (\S+)", head).group(1)
    code, status, body, head = curl(url, "-r", "100-299", "-H", f"If-Match: {etag}")
    need((code, status, body) == (0, 206, whole("p")[100:300]), f"range: {code} {status}")
    need(f"Content-Range: bytes 100-299/{SIZE}" in head, head)
    need(curl(url, "-H", 'If-Match: "other"')[1] == 412, "If-Match of another version")
    need(curl(url, "-r", "100-299", "-H", 'If-Range: "other"')[1] == 200, "If-Range of another version")
    need(curl(url, "-I")[:2] == (0, 200) and raw(server, f"/plain/{SIZE}/p", "HEAD").endswith(b"\r\n\r\n"), "HEAD")
    server.bump("p")
    need(curl(url)[2] == hostile.content(SIZE, "p", 1), "a bumped version has other bytes")


def test_keep_alive(server):
    url = server.url("plain/10/k")
    done = subprocess.run(["curl", "-sS", "-v", url, url, "-o", "/dev/null", "-o", "/dev/null"], capture_output=True, check=False, timeout=60)
    need(b"Re-using existing connection" in done.stderr, "two requests on one connection")


def test_validators(server):
    need("ETag" not in curl(server.url("no-etag/10/a"))[3], "no-etag has an ETag")
    head = curl(server.url("no-validator/10/a"))[3]
    need("ETag" not in head and "Last-Modified" not in head, "no-validator has one")
    need('ETag: W/"' in curl(server.url("weak-etag/10/a"))[3], "weak-etag is strong")


def test_status(server):
    for status in (204, 304, 401, 403, 404, 410, 429, 500, 502, 503):
        need(curl(server.url(f"status:{status}/0/a"))[1] == status, f"status {status}")


def test_flaky(server):
    seen = [curl(server.url("flaky:2:500/10/a"))[1] for _ in range(3)]
    need(seen == [500, 500, 200], seen)


def test_retry_after(server):
    _, status, _, head = curl(server.url("retry-after:429:7:1/10/a"))
    need(status == 429 and "Retry-After: 7" in head, head)
    need(curl(server.url("retry-after:429:7:1/10/a"))[1] == 200, "second time")
    _, status, _, head = curl(server.url("retry-after:503:date+5:1/10/a"))
    need(status == 503 and re.search(r"Retry-After: \w+, \d+ \w+ \d+ .* GMT", head), head)


def test_stall(server):
    started = time.monotonic()
    code, _, body, _ = curl(server.url(f"stall:1000/{SIZE}/a"))
    need(code == 28 and len(body) == 1000 and time.monotonic() - started > 3, f"{code} {len(body)}")


def test_stall_once(server):
    url = server.url(f"stall-once:1000/{SIZE}/a")
    need(len(curl(url, "-r", "0-0")[2]) == 1, "probe")
    need(curl(url)[0] == 28 and curl(url)[2] == whole("a"), "once")


def test_close_early(server):
    for _ in range(2):
        code, status, body, _ = curl(server.url(f"close-early:777/{SIZE}/a"))
        need((code, status, len(body)) == (18, 200, 777), f"{code} {status} {len(body)}")
    url = server.url(f"close-early-once:777/{SIZE}/a")
    need(curl(url)[0] == 18 and curl(url)[2] == whole("a"), "once")


def test_slow(server):
    started = time.monotonic()
    need(curl(server.url("slow:10000/20000/a"))[2] == hostile.content(20000, "a"), "bytes")
    need(1.5 < time.monotonic() - started < 15, "rate")


def test_gate(server):
    need(len(curl(server.url(f"gate/{SIZE}/g"))[2]) == SIZE // 2, "closed")
    server.open_gate("g")
    need(curl(server.url(f"gate/{SIZE}/g"))[2] == whole("g"), "open")


def test_no_length(server):
    code, _, body, head = curl(server.url(f"no-length/{SIZE}/a"))
    need(code == 0 and body == whole("a") and "ontent-Length" not in head, head)


def test_chunked(server):
    code, _, body, head = curl(server.url(f"chunked/{SIZE}/a"))
    need(code == 0 and body == whole("a") and "chunked" in head, head)
    need(curl(server.url(f"chunked-cut/{SIZE}/a"))[0] == 18, "cut")


def test_endless(server):
    for name in ("chunked-endless", "endless"):
        code, _, body, _ = curl(server.url(f"{name}/1/a"), "-m", "1")
        need(code == 28 and len(body) > 10 << 20, f"{name}: {code} {len(body)}")


def test_length(server):
    for text in ("-5", "9223372036854775808", "0"):
        need(f"Content-Length: {text}\r\n".encode() in raw(server, f"/length:{text}/10/a"), text)
    data = raw(server, "/length:10:20/10/a")
    need(b"Content-Length: 10\r\nContent-Length: 20\r\n" in data and data.endswith(hostile.content(10, "a")), "two")


def test_etag_changes(server):
    url = server.url(f"etag-changes/{SIZE}/e")
    probe = curl(url, "-I")[3]
    need(curl(url)[2] == whole("e")[:SIZE // 2], "first body")
    _, status, body, head = curl(url, "-r", "1000-1999", "-H", "If-Match: " + re.search(r"ETag: (\S+)", probe).group(1))
    need(status == 206 and body == hostile.content(SIZE, "e", 1)[1000:2000], "other bytes")
    need(re.search(r"ETag: (\S+)", head).group(1) not in probe, "other ETag")


def test_wrong_range(server):
    url = server.url(f"wrong-range/{SIZE}/a")
    need(curl(url)[0] == 18, "first body breaks off")
    data = raw(server, f"/wrong-range/{SIZE}/a", extra="Range: bytes=1000-1999\r\n")
    need(f"Content-Range: bytes 1001-1999/{SIZE}".encode() in data and data.endswith(whole("a")[1001:2000]), "range")


def test_range_ignored(server):
    url = server.url(f"range-ignored/{SIZE}/a")
    need(curl(url, "-r", "0-0")[1] == 206, "probe")
    need(curl(url, "-r", "10-999")[0] == 18, "first body breaks off")
    data = raw(server, f"/range-ignored/{SIZE}/a", extra="Range: bytes=10-999\r\n")
    need(data.startswith(b"HTTP/1.1 200") and data.endswith(whole("a")), "200 and the whole")
    need(curl(server.url(f"no-ranges/{SIZE}/a"), "-H", "Range: bytes=10-20")[1] == 200, "no-ranges")
    code, status, body, _ = curl(server.url(f"no-ranges-cut:5000/{SIZE}/a"), "-H", "Range: bytes=10-20")
    need((code, status, len(body)) == (18, 200, 5000), "no-ranges-cut")


def test_gzip(server):
    data = raw(server, f"/gzip/{SIZE}/a")
    head, _, body = data.partition(b"\r\n\r\n")
    need(b"Content-Encoding: gzip" in head and gzip.decompress(body) == whole("a"), "gzip")


def test_unasked_206(server):
    _, status, body, head = curl(server.url(f"unasked-206/{SIZE}/a"))
    need(status == 206 and len(body) == SIZE // 2 and f"bytes 0-{SIZE // 2 - 1}/{SIZE}" in head, head)


def test_redirects(server):
    _, status, _, head = curl(server.url("redirect:302/0/a?to=file:///etc/passwd"))
    need(status == 302 and "Location: file:///etc/passwd" in head, head)
    need("Location" not in curl(server.url("redirect:307/0/a"))[3], "no Location")
    need(curl(server.url("redirect-chain:3/10/a"), "-L")[2] == hostile.content(10, "a"), "chain")
    need(curl(server.url("redirect-chain:3/10/a"), "-L", "--max-redirs", "2")[0] == 47, "chain is 3 long")
    need(curl(server.url("redirect-loop/10/a"), "-L", "--max-redirs", "20")[0] == 47, "loop")


def test_auth(server):
    need(curl(server.url("auth/10/a"))[1] == 401, "without")
    need(curl(server.url("auth/10/a"), "-u", "x:y")[1] == 200, "with")
    need(server.requests("/auth/10/a")[-1]["authorized"] is True, "log")


def test_s3_error(server):
    _, status, body, _ = curl(server.url("s3-error:400:ExpiredToken/0/a"))
    need(status == 400 and b"<Code>ExpiredToken</Code>" in body, body)


def test_headers(server):
    need(len(raw(server, "/huge-headers/10/a")) > 1 << 20, "1 MiB")
    need(raw(server, "/many-headers/10/a").count(b"X-Header-") == 10000, "10,000")
    need(len(raw(server, "/endless-headers/10/a", limit=3 << 20)) >= 3 << 20, "endless")
    need(b'ETag: "a\0b"' in raw(server, "/nul-header/10/a"), "NUL")


def test_protocol(server):
    need(curl(server.url("bad-chunk/10/a"))[0] == 56, "bad chunk")
    need(curl(server.url("http09/10/a"))[0] == 1, "HTTP/0.9")
    need(curl(server.url("garbage/10/a"))[0] == 1, "garbage")
    need(curl(server.url("reset/10/a"))[0] in (52, 56), "reset")


def test_log(server):
    path = "/plain/12345/log"
    curl(server.url(path), "-r", "0-99")
    curl(server.url(path))
    curl(server.url(path), "-I")
    deadline = time.monotonic() + 5
    while not all(r["done"] for r in server.requests(path)) and time.monotonic() < deadline:
        time.sleep(0.01)  # the client has its answer before the server writes down that it sent it
    need([(r["method"], r["status"], r["sent"]) for r in server.requests(path)] ==
         [("GET", 206, 100), ("GET", 200, 12345), ("HEAD", 200, 0)], server.requests(path))
    need(server.body_bytes(path) == 12445, "sum")


def test_tls_reset(_):
    port = hostile.TlsReset().port
    need(curl(f"https://127.0.0.1:{port}/")[0] == 35, "TLS handshake reset")
    need(curl(f"http://127.0.0.1:{hostile.closed_port()}/")[0] == 7, "closed port")


def test_nginx_ends_with_its_program(_):
    """However that ends, and whoever reads what it prints is not kept waiting."""
    with tempfile.TemporaryDirectory(dir=os.environ["SC_WORK"]) as place:
        os.chmod(place, 0o755)
        program = subprocess.Popen([sys.executable, nginx.__file__, f"{place}/nginx", place], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ready = pathlib.Path(place, "nginx", "port")
        end = time.monotonic() + 20
        while not ready.exists():
            need(program.poll() is None and time.monotonic() < end, "nginx does not start")
            time.sleep(0.02)
        port = int(ready.read_text())
        program.kill()
        program.communicate(timeout=10)
        end = time.monotonic() + 10
        while curl(f"http://127.0.0.1:{port}/")[0] != 7:
            need(time.monotonic() < end, "nginx lives on")


def test_complete(_):
    """Every behaviour is named by a test here."""
    text = open(__file__).read()
    missing = [name for name in hostile.BEHAVIOURS if name not in text]
    need(not missing, f"not proved: {missing}")


def run(server):
    for name, function in sorted(globals().items()):
        if name.startswith("test_"):
            try:
                function(server)
                yield name[5:].replace("_", "-"), None
            except Exception as error:  # a broken server must not stop the other proofs
                yield name[5:].replace("_", "-"), f"{type(error).__name__}: {error}"
