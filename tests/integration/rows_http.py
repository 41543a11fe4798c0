"""Rows 48 to 64: what servers do, against a server that does it. Each test knows how many bytes may leave."""

import time

import harness
import hostile
import nginx
from harness import Code, expect, need, test

MIB = 1 << 20
ERROR_PAGE = hostile.SECRET_BODY.decode()


def fails(world, code, path, *words, storage_class="test", timeout=60, size=0, options=""):
    """A publish of the hostile path fails like this and leaves nothing; returns (message, requests, seconds)."""
    pod = world.node.pod("http")
    started = time.monotonic()
    message = pod.final(code, lambda: pod.publish(f"{world.hostile.url(path)} -> file {options}", timeout=timeout, storageClass=storage_class),
                        *words, absent=(ERROR_PAGE,))
    return message, world.hostile.requests("/" + path), time.monotonic() - started


def works(world, path, size, name, version=0, timeout=100, seconds=150):
    """A publish of the hostile path ends with the right bytes, retried as kubelet would; returns its requests."""
    pod = world.node.pod("http")
    pod.publish_as_kubelet(f"{world.hostile.url(path)} -> file", timeout=timeout, seconds=seconds)
    need(pod.read("file") == hostile.content(size, name, version), "other bytes than the server's")
    pod.unpublish()
    pod.nothing_left()
    return world.hostile.requests("/" + path)


def body_bytes(requests):
    return sum(record["sent"] for record in requests)


@test("row-48 not-found")
def not_found(world):
    for status in (404, 410):
        message, requests, _ = fails(world, Code.NOT_FOUND, f"status:{status}/0/a", "input 1", f"HTTP {status}")
        need(len(requests) <= 2, f"tried again, {len(requests)} requests: {message}")
    # What was missing a moment ago is there now: no negative cache to wait for.
    path = "flaky:1:404/1000/late"
    fails(world, Code.NOT_FOUND, path, "404")
    works(world, path, 1000, "late")


@test("row-49 refused-by-the-source")
def refused_by_source(world):
    for status, code in ((401, Code.UNAUTHENTICATED), (403, Code.PERMISSION_DENIED)):
        _, requests, _ = fails(world, code, f"status:{status}/0/a", "input 1", f"HTTP {status}")
        need(len(requests) <= 2, f"tried again, {len(requests)} requests")


@test("row-50 retry-after", slow=True)
def retry_after(world):
    for value, least, most in (("2", 1.9, 12), ("date+3", 1.9, 12)):
        path = f"retry-after:429:{value}:1/1000/wait-{value}"
        first, second = works(world, path, 1000, f"wait-{value}")[:2]
        gap = second["time"] - first["time"]
        need(least <= gap <= most, f"Retry-After {value}: asked again after {gap:.1f} s")
    # Absurd values are capped: the call ends with UNAVAILABLE instead of waiting for a year.
    _, _, seconds = fails(world, (Code.UNAVAILABLE, Code.ABORTED), "retry-after:503:99999999:1000/1000/never", timeout=30)
    need(seconds < 31, seconds)
    fails(world, (Code.UNAVAILABLE, Code.ABORTED), "retry-after:503:soon:1000/1000/never", timeout=60)


@test("row-51 server-errors-are-retried-a-bounded-number-of-times", slow=True)
def server_errors(world):
    for status in (500, 502, 503):
        _, requests, _ = fails(world, Code.UNAVAILABLE, f"status:{status}/0/a", "input 1", f"{status}")
        need(2 <= len(requests) <= 10, f"{len(requests)} requests")
    requests = works(world, "flaky:2:502/1000/twice", 1000, "twice")
    gaps = [b["time"] - a["time"] for a, b in zip(requests, requests[1:])][:2]
    need(all(gap > 0.01 for gap in gaps), f"retried at once: {gaps}")


@test("row-51 nobody-listens", slow=True)
def nobody_listens(world):
    pod = world.node.pod("refused")
    pod.final(Code.UNAVAILABLE, lambda: pod.publish(f"http://127.0.0.1:{hostile.closed_port()}/a"), "input 1", "connect|refused")
    fails(world, Code.UNAVAILABLE, "reset/1000/a", "input 1")


@test("row-51 tls-handshake-reset", slow=True)
def tls_reset(world):
    server = hostile.TlsReset()
    pod = world.node.pod("tls-reset")
    pod.final(Code.UNAVAILABLE, lambda: pod.publish(f"https://localhost:{server.port}/a", storageClass="tls"), "input 1")
    need(2 <= server.connections <= 10, server.connections)


@test("row-52 certificates")
def certificates(world):
    world.file("tls.txt", b"over tls")
    pod = world.node.pod("tls")
    pod.publish(world.nginx.url("tls.txt", "good"), storageClass="tls")
    need(pod.read("tls.txt") == b"over tls", "contents")
    pod.unpublish()
    for certificate in nginx.CERTIFICATES[1:]:
        bad = world.node.pod("tls-bad")
        bad.final(Code.FAILED_PRECONDITION, lambda c=certificate, p=bad: p.publish(world.nginx.url("tls.txt", c), storageClass="tls"),
                  "input 1", "certificate")
    # The good one too, where the class does not name the CA.
    bad = world.node.pod("tls-unknown")
    bad.final(Code.FAILED_PRECONDITION, lambda: bad.publish(world.nginx.url("tls.txt", "good")), "certificate")


@test("row-53 a-stall-is-resumed", slow=True)
def stall_resumed(world):
    size = 3 * MIB
    requests = works(world, f"stall-once:{MIB}/{size}/stalled", size, "stalled")
    sent = body_bytes(requests)
    need(size <= sent <= 2 * size, f"{sent} bytes left the server")
    resumed = [record for record in requests if record["range"] and not record["range"].startswith("bytes=0-")]
    need(resumed, "nothing was resumed by a range")


@test("row-53 a-server-that-stalls-for-ever", slow=True, patient=True)
def stall_for_ever(world):
    pod = world.node.pod("stall")
    inputs = f"{world.hostile.url(f'stall:100/{MIB}/for-ever')} -> file"
    messages = []
    try:
        pod.publish_as_kubelet(inputs, timeout=100, seconds=150)
        raise AssertionError("published")
    except AssertionError as error:
        messages.append(str(error))
    need("UNAVAILABLE" in messages[0] or "ABORTED" in messages[0], messages)
    pod.unpublish()
    pod.nothing_left()


@test("row-54 closes-early")
def closes_early(world):
    size = 2 * MIB
    requests = works(world, f"close-early-once:{MIB}/{size}/cut", size, "cut")
    need(body_bytes(requests) <= size + MIB + 1, f"{body_bytes(requests)} bytes left the server")
    # Seven bytes at a time lead to the end; none at a time do not.
    works(world, "close-early:7/20/sevens", 20, "sevens")
    fails(world, Code.UNAVAILABLE, "close-early:0/10/short", "input 1", timeout=100)


@test("row-54 closes-early-for-ever-and-has-no-ranges", slow=True)
def closes_early_without_ranges(world):
    """Nothing can be kept, so coming further is no headway: it ends, and does not download for ever."""
    size = 2 * MIB
    _, requests, _ = fails(world, Code.UNAVAILABLE, f"no-ranges-cut:{MIB}/{size}/never", "input 1", timeout=100)
    need(body_bytes(requests) <= 20 * MIB, f"{body_bytes(requests)} bytes left the server")


@test("row-55 chunked-and-without-length")
def no_length(world):
    for kind in ("chunked", "no-length"):
        need(len(works(world, f"{kind}/500000/{kind}", 500000, kind)) >= 1, kind)
    fails(world, (Code.UNAVAILABLE, Code.FAILED_PRECONDITION), "chunked-cut/1000/cut", "input 1", timeout=100)


@test("row-55 endless-bodies-meet-the-cap")
def endless(world):
    with harness.Node("endless", {"small": {**harness.LOOPBACK, "maxBytes": "1Mi"}}) as node:
        endless_on(node, world.hostile)
        left = [path for path in (node.state / "store/incoming").rglob("*") if path.is_file() and path.stat().st_size > 0]
        need(not left, f"temporary files are left: {left}")


def endless_on(node, server):
    for kind in ("chunked-endless", "endless"):
        pod = node.pod(kind)
        pod.final(Code.RESOURCE_EXHAUSTED, lambda p=pod, k=kind: p.publish(f"{server.url(f'{k}/1/a')} -> file"), "input 1")
        sent = server.body_bytes(f"/{kind}/1/a")
        need(sent < 64 * MIB, f"{sent} bytes left the server")


@test("row-56 lengths-that-are-none")
def lengths(world):
    requests = works(world, "plain/0/empty", 0, "empty")
    need(requests, "no request")
    for path in ("length:-5/10/a", "length:9223372036854775808/10/a", "length:99999999999999999999999/10/a", "length:10:20/10/a", "length:ten/10/a"):
        fails(world, (Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE) if "922" in path or "999" in path
              else (Code.FAILED_PRECONDITION, Code.UNAVAILABLE), path, "input 1", timeout=100)


@test("row-57 too-large-before-the-first-byte")
def too_large(world):
    size = 5 * MIB
    _, requests, _ = fails(world, Code.RESOURCE_EXHAUSTED, f"plain/{size}/large", "5.0 MiB", "1.0 MiB", storage_class="small")
    need(body_bytes(requests) <= 1, f"{body_bytes(requests)} bytes left the server")


@test("row-58 the-object-changes-in-the-middle")
def changes(world):
    size = 3 * MIB
    pod = world.node.pod("changes")
    inputs = f"{world.hostile.url(f'etag-changes/{size}/changing')} -> file"
    pod.publish_as_kubelet(inputs)
    need(pod.read("file") == hostile.content(size, "changing", 1), "not the second version alone")
    pod.unpublish()


@test("row-58 a-range-that-was-not-asked-for")
def wrong_range(world):
    size = 2 * MIB
    works(world, f"wrong-range/{size}/wrong", size, "wrong")


@test("row-58 a-range-that-is-ignored")
def range_ignored(world):
    size = 2 * MIB
    works(world, f"range-ignored/{size}/ignored", size, "ignored")
    works(world, f"no-ranges/{size}/none", size, "none")


@test("row-59 each-version-is-an-object-of-its-own")
def versions(world):
    """Two plugins, the object changes between their fetches, and the first plugin sees the new one with its next pod."""
    size, path = 300000, "plain/300000/moving"
    url = f"{world.hostile.url(path)} -> file"
    first = world.node.pod("version")
    first.publish(url)
    world.hostile.bump("moving")
    with harness.Node("second") as other:
        pod = other.pod("version")
        pod.publish(url)
        need(pod.read("file") == hostile.content(size, "moving", 1), "second plugin")
        pod.unpublish()
    need(first.read("file") == hostile.content(size, "moving", 0), "the mounted version changed")
    again = world.node.pod("version")
    again.publish(url)
    need(again.read("file") == hostile.content(size, "moving", 1), "the old version was served as new")
    need(first.read("file") == hostile.content(size, "moving", 0), "the mounted version changed")
    first.unpublish()
    again.unpublish()


@test("row-60 gzip-that-nobody-asked-for")
def gzipped(world):
    fails(world, Code.FAILED_PRECONDITION, "gzip/100000/a", "input 1", "[Ee]ncoding")


@test("row-61 digest-mismatch")
def mismatch(world):
    path, size = "plain/400000/digest", 400000
    wrong = "0" * 64
    message, requests, _ = fails(world, Code.FAILED_PRECONDITION, path, "input 1", "sha256", wrong[:12], hostile.sha256(size, "digest")[:12],
                                 options=f"sha256={wrong}")
    need(size * 2 <= body_bytes(requests) <= size * 2 + 10, f"{body_bytes(requests)} bytes left the server, not one refetch: {message}")
    need(any("no-cache" in (record["cache_control"] or "") for record in requests), "the refetch does not bypass caches")
    # The right digest is fine, and the object comes from the source again: the wrong claim left nothing behind.
    pod = world.node.pod("digest")
    pod.publish(f"{world.hostile.url(path)} -> file sha256={hostile.sha256(size, 'digest')}")
    need(pod.read("file") == hostile.content(size, "digest"), "contents")
    pod.unpublish()


@test("row-61 a-digest-alone-grants-nothing")
def digest_is_no_key(world):
    """The bytes are in the store; a pod that only knows their digest does not get them from a URL that says no."""
    size = 50000
    works(world, f"plain/{size}/private", size, "private")
    fails(world, Code.PERMISSION_DENIED, "status:403/0/private", "403", options=f"sha256={hostile.sha256(size, 'private')}")


@test("row-62 broken-http")
def broken_http(world):
    for path in ("huge-headers/10/a", "many-headers/10/a", "endless-headers/10/a", "bad-chunk/10/a", "nul-header/10/a", "http09/10/a", "garbage/10/a"):
        fails(world, (Code.UNAVAILABLE, Code.FAILED_PRECONDITION), path, "input 1", timeout=100)
    fetcher = world.node.children()["fetcher"]
    peak = next(int(line.split()[1]) for line in open(f"/proc/{fetcher}/status") if line.startswith("VmHWM"))
    need(peak < 512 * 1024, f"the fetcher grew to {peak} KiB")


@test("row-63 statuses-out-of-place")
def out_of_place(world):
    for path in ("status:304/0/a", "status:204/0/a", "unasked-206/1000/a", "status:300/0/a"):
        fails(world, Code.FAILED_PRECONDITION, path, "input 1", timeout=100)


@test("row-64 slow-but-steady", slow=True)
def slow_but_steady(world):
    """Calls end with ABORTED and a message that changes; the download goes on; every byte leaves once."""
    size = 24 * MIB
    path = f"slow:{MIB // 2}/{size}/steady"
    inputs = f"{world.hostile.url(path)} -> file"
    pod = world.node.pod("steady")
    seen = []
    for _ in range(60):
        started = time.monotonic()
        try:
            pod.publish(inputs, timeout=8)
            break
        except harness.grpc.RpcError as error:
            need(error.code() == Code.ABORTED, f"{error.code()} {error.details()}")
            need(time.monotonic() - started < 8, "not held shorter than its deadline")
            seen.append(error.details())
    need(len(seen) >= 2 and len(set(seen)) == len(seen), f"messages do not change: {seen}")
    need(all(word in seen[-1] for word in ("of 24.0 MiB", " percent", "MiB/s")), seen[-1])
    need(pod.read("file") == hostile.content(size, "steady"), "contents")
    sent = body_bytes(world.hostile.requests("/" + path))
    need(size <= sent <= size + 10, f"{sent} bytes left the server for {size}")
    pod.unpublish()


@test("row-64 an-unknown-volume-does-not-wait-for-a-slow-one", slow=True)
def others_go_on(world):
    slow = world.node.pod("slow")
    expect(Code.ABORTED, lambda: slow.publish(f"{world.hostile.url('gate/4000000/held')} -> file", timeout=3))
    works(world, "plain/1000/quick", 1000, "quick")  # or it waits for the gate, which is opened afterwards
    world.hostile.open_gate("held")
    slow.publish_as_kubelet(f"{world.hostile.url('gate/4000000/held')} -> file")
    slow.unpublish()
