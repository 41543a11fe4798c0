"""https:// with a token, with a password and with a signed query: asked over TLS, and refused also when somebody else's right has brought
the object into the cache."""

import ssl
import urllib.error
import urllib.request

import canaries
import guard
from harness import Code, need, test, wait_until
from tokens import Tokens

DENIED = (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED)


def refused(world, code, url, *words, secrets=None):
    pod = world.node.pod("https-refused")
    absent = [value for value in (secrets or {}).values() if len(value) > 10]
    return pod.final(code, lambda: pod.publish(f"{url} -> x", storageClass="tls", secrets=secrets or {}), "input 1", *words, absent=absent)


def read(world, url, name, secrets=None):
    pod = world.node.pod("https")
    pod.publish(url, storageClass="tls", secrets=secrets or {})
    data = pod.read(name)
    pod.unpublish()
    return data


@test("https bearer-tokens")
def bearer(world):
    body, issued = b"for token holders\n" * 10000, Tokens()
    world.file("private/token.txt", body)
    proxy = world.guard(world.nginx.port, guard.WebBearer(issued, {"alice": {"private"}}), tls=True)
    url, alice = proxy.url("/private/token.txt"), issued.issue("alice")
    need(read(world, url, "token.txt", {"token": alice.value}) == body, "contents")
    sent = proxy.body_bytes()
    refused(world, Code.UNAUTHENTICATED, url, "401")
    refused(world, Code.UNAUTHENTICATED, url, "401", secrets={"token": canaries.make("made-up-token")})
    refused(world, Code.PERMISSION_DENIED, url, "403", secrets={"token": issued.issue("bob").value})
    alice.expires = 0
    refused(world, Code.UNAUTHENTICATED, url, "401", secrets={"token": alice.value})
    need(proxy.body_bytes() == sent, f"contents left the server for a refusal: {guard.trace(proxy.requests())}")
    need(read(world, url, "token.txt", {"bearer": issued.issue("alice").value}) == body, "another token of the same right")
    need(proxy.body_bytes() <= sent + 1, "downloaded again")


@test("https password")
def password(world):
    world.file("auth/over-tls.txt", b"private")
    proxy = world.guard(world.nginx.port, tls=True)
    url, good = proxy.url("/auth/over-tls.txt"), {"username": "reader", "password": "swordfish"}
    need(read(world, url, "over-tls.txt", good) == b"private", "contents")
    for secrets in ({}, {**good, "password": canaries.make("wrong-password")}, {**good, "username": "writer"}):
        refused(world, Code.UNAUTHENTICATED, url, "401", secrets=secrets)
    # A secret for one host is not shown to another.
    elsewhere = {**good, "https-host": "files.example.com"}
    refused(world, Code.UNAUTHENTICATED, url, "401", secrets=elsewhere)


@test("https presigned-urls")
def presigned(world):
    server, body = world.versity, b"signed" * 50000
    server.make_bucket("presigned", readers=["alice"])
    server.put("presigned", "dir/object.bin", body)
    proxy = world.guard(server.port, tls=True)

    def sign(seconds, account="alice"):
        client = server.client(account, endpoint=proxy.url("").rstrip("/"))
        url = client.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "dir/object.bin"}, ExpiresIn=seconds)
        canaries.add("presigned-signature", url.split("X-Amz-Signature=")[1].split("&")[0])
        return url
    need(read(world, sign(600), "object.bin") == body, "contents")
    good = sign(600)
    refused(world, DENIED, good[:-4] + ("beef" if good[-4:] != "beef" else "cafe"), "403")
    refused(world, DENIED, sign(600, "bob"), "403")
    short = sign(1)
    wait_until(lambda: server_says(world, short) == 403, 20, "the signature is over")
    refused(world, DENIED, short, "403")
    need(read(world, sign(600), "object.bin") == body, "a new signature")


def server_says(world, url):
    try:
        with urllib.request.urlopen(url, timeout=30, context=ssl.create_default_context(cafile=world.nginx.ca)) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
