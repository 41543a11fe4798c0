"""Rows 37 to 47, as far as they show at the socket: URLs, addresses, redirects."""

import socket
import threading

from harness import Code, need, test
from rows_attributes import refused


@test("row-37 schemes")
def schemes(world):
    for url in ("file:///etc/passwd", "ftp://example.com/a", "gopher://example.com/a", "data:text/plain,a", "unix:///run/a",
                "//example.com/a", "example.com/a", "http:///a", "https://"):
        refused(world, Code.INVALID_ARGUMENT, "line 1", inputs=url)


@test("row-38 malformed-urls")
def malformed(world):
    for url in ("https://user:swordfish@example.com/a", "https://example.com/a#part", "https://example.com/a\x7fb", "https://example.com/\xe9",
                "https://example.com/%zz", "https://example.com:99999/a", "https://exa mple.com/a b c", "https://[::1/a"):
        refused(world, Code.INVALID_ARGUMENT, "line 1", inputs=url, absent=("swordfish",))


@test("row-39 loopback-in-every-spelling")
def loopback(world):
    port = world.nginx.port
    for host in ("127.0.0.1", "2130706433", "0177.1", "0x7f.1", "[::1]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "127.1"):
        refused(world, (Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT), "not allowed|host", inputs=f"http://{host}:{port}/x", storageClass="strict")


@test("row-40 metadata-services")
def metadata(world):
    for host in ("169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "10.0.0.1", "192.168.1.1", "172.16.0.1", "224.0.0.1", "255.255.255.255"):
        refused(world, Code.PERMISSION_DENIED, "not allowed", inputs=f"http://{host}/latest/meta-data/token -> x", storageClass="strict")


@test("row-42 unknown-host")
def unknown_host(world):
    refused(world, Code.UNAVAILABLE, "resolve", inputs="https://no-such-host.invalid/a")


@test("row-43 redirects")
def redirects(world):
    server = world.hostile
    plain = server.url("plain/1000/r")
    pod = world.node.pod("redirect")
    pod.publish(f"{server.url('redirect:302/0/a?to=' + plain)} -> one\n{server.url('redirect-chain:3/1000/chain')} -> two")
    need(len(pod.read("one")) == 1000 and len(pod.read("two")) == 1000, "followed")
    pod.unpublish()
    for target, code in ((f"redirect:302/0/a?to=file:///etc/passwd", (Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION)),
                         (f"redirect:301/0/a?to=http://169.254.169.254/", Code.PERMISSION_DENIED),
                         (f"redirect:307/0/a?to=http://10.1.2.3/", Code.PERMISSION_DENIED),
                         ("redirect-loop/0/a", Code.FAILED_PRECONDITION),
                         ("redirect-chain:6/1000/long", Code.FAILED_PRECONDITION),
                         ("redirect:302/0/a", Code.FAILED_PRECONDITION)):
        refused(world, code, "input 1", inputs=f"{server.url(target)} -> x")


@test("row-43 no-downgrade")
def downgrade(world):
    import hostile
    import harness
    files = world.nginx.dir / "tls"
    server = hostile.HostileServer(harness.WORK / "hostile-tls.log", tls=(files / "good.crt", files / "good.key"))
    inputs = server.url(f"redirect:302/0/a?to={world.hostile.url('plain/10/down')}", host="localhost") + " -> x"
    refused(world, (Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED), "downgrade|https", inputs=inputs, storageClass="tls")
    need(not world.hostile.requests("/plain/10/down"), "the plain URL was asked")
    server.stop()


@test("row-44 credentials-stay-with-their-host")
def credentials(world):
    """Another host: the same server under another name. The first sees the password, the second does not."""
    other = world.hostile.url("auth/1000/dropped", host="localhost")
    first = world.hostile.url(f"redirect:302/0/keep?to={other}")
    refused(world, Code.UNAUTHENTICATED, "401|input 1", inputs=f"{first} -> x", secrets={"username": "reader", "password": "swordfish"})
    need(all(record["authorized"] for record in world.hostile.requests("/redirect:302/0/keep")), "not sent to the first host")
    seen = world.hostile.requests("/auth/1000/dropped")
    need(seen and not any(record["authorized"] for record in seen), "sent to the other host")


@test("row-46 signed-query")
def signed_query(world):
    url = world.hostile.url("plain/5000/signed?X-Amz-Signature=signature-of-a-url&X-Amz-Expires=60")
    pod = world.node.pod("signed")
    pod.publish(url)
    need(len(pod.read("signed")) == 5000, "contents")
    need(any("signature-of-a-url" in record["target"] for record in world.hostile.requests("/plain/5000/signed")), "the query was not sent")
    pod.unpublish()
    refused(world, Code.NOT_FOUND, inputs=world.hostile.url("status:404/0/gone?sig=signature-of-a-url") + " -> x", absent=("signature-of-a-url",))
    for path in world.node.state.rglob("*"):
        need("signature-of-a-url" not in str(path), path)
        if path.is_file() and path.stat().st_size < 1 << 20:
            need(b"signature-of-a-url" not in path.read_bytes(), path)


@test("row-47 one-object-for-two-spellings")
def spellings(world):
    pod = world.node.pod("spellings")
    first, second = world.hostile.url("plain/300000/sp%61ced"), world.hostile.url("plain/300000/spaced")
    pod.publish(f"{first} -> one\n{second} -> two")
    need(pod.read("one") == pod.read("two"), "contents")
    sent = world.hostile.body_bytes("/plain/300000/spaced") + world.hostile.body_bytes("/plain/300000/sp%61ced")
    need(300000 <= sent <= 300010, f"{sent} bytes left the server")
    pod.unpublish()


@test("row-39 no-packet-before-the-check")
def no_connection(world):
    """A listener on loopback sees nobody while its address is not allowed."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def accept():
            try:
                seen.append(listener.accept())
            except OSError:
                pass
        threading.Thread(target=accept, daemon=True).start()
        refused(world, Code.PERMISSION_DENIED, inputs=f"http://127.0.0.1:{listener.getsockname()[1]}/x", storageClass="strict")
        listener.shutdown(socket.SHUT_RDWR)
    need(not seen, "somebody connected")
