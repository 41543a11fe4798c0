"""S3 on a server that verifies each signature, and credentials over HTTP."""

import hashlib

import harness
import hostile
import s3
from harness import Code, need, test

SECRETS = {"AWS_ACCESS_KEY_ID": s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET_KEY}
# What has to be percent-encoded differently in a path, in a canonical request and in a file name.
KEYS = ("plain", "dir/with space", "plus+plus", "per%cent%20encoded", "uni-ü-日本語-😀", "a=b&c;d", "tilde~and'quote(1)!*", "semi;colon@at,comma$", "deep/er/est/key.tar.gz")


def url_of(key):
    return "s3://data/" + s3.encode(key, "/")


@test("s3 keys-of-every-kind")
def keys(world):
    contents = {key: (key * 1000).encode() for key in KEYS}
    for key, body in contents.items():
        world.s3.put("data", key, body)
    lines = [f"{url_of(key)} -> file-{number}" for number, key in enumerate(contents)]
    pod = world.node.pod("s3")
    pod.publish("\n".join(lines), storageClass="s3", secrets=SECRETS)
    for number, body in enumerate(contents.values()):
        need(pod.read(f"file-{number}") == body, KEYS[number])
    pod.unpublish()
    pod = world.node.pod("s3-name")
    pod.publish(url_of("dir/with space") + "\n" + url_of("uni-ü-日本語-😀"), storageClass="s3", secrets=SECRETS)
    need(sorted(each.name for each in pod.target.iterdir()) == ["uni-ü-日本語-😀", "with space"], "default names")
    pod.unpublish()


@test("s3 large-object-in-parts")
def large(world):
    body = hashlib.shake_128(b"large").digest(40 << 20)
    world.s3.put("data", "large.bin", body)
    pod = world.node.pod("s3-large")
    pod.publish_as_kubelet("s3://data/large.bin", storageClass="s3", secrets=SECRETS)
    need(hashlib.sha256(pod.read("large.bin")).digest() == hashlib.sha256(body).digest(), "contents")
    pod.unpublish()


def refused(world, code, *words, inputs="s3://data/plain", secrets=None, storage_class="s3"):
    pod = world.node.pod("s3-refused")
    pod.final(code, lambda: pod.publish(f"{inputs} -> x", storageClass=storage_class, secrets=SECRETS if secrets is None else secrets), "input 1",
              *words, absent=(s3.SECRET_KEY,))


@test("s3 wrong-keys")
def wrong_keys(world):
    world.s3.put("data", "wrong", b"not for everybody")
    target = "s3://data/wrong"
    denied = (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED)
    refused(world, denied, inputs=target, secrets={**SECRETS, "AWS_SECRET_ACCESS_KEY": "wrong"})
    # This server says 404 XAdminUserNotFound for a key that it does not know, where AWS says 403.
    refused(world, (*denied, Code.NOT_FOUND), inputs=target, secrets={**SECRETS, "AWS_ACCESS_KEY_ID": "NOBODY"})
    refused(world, denied, inputs=target, secrets={})
    # After somebody with the right key has brought it into the cache, the wrong one still gets nothing.
    pod = world.node.pod("s3-right")
    pod.publish(target, storageClass="s3", secrets=SECRETS)
    refused(world, denied, inputs=target, secrets={**SECRETS, "AWS_SECRET_ACCESS_KEY": "wrong"})
    refused(world, denied, inputs=target, secrets={})
    pod.unpublish()


@test("s3 what-is-not-there")
def not_there(world):
    refused(world, Code.NOT_FOUND, "404", inputs="s3://data/no-such-key")
    refused(world, (Code.NOT_FOUND, Code.PERMISSION_DENIED), inputs="s3://no-such-bucket/key")


@test("s3 expired-session")
def expired(world):
    """What S3 answers to a session token that has run out, by the server that answers anything."""
    session = {**SECRETS, "AWS_SESSION_TOKEN": "token-of-the-pod"}
    for status, code in ((400, "ExpiredToken"), (403, "RequestTimeTooSkewed"), (400, "InvalidToken")):
        server = hostile.HostileServer(harness.WORK / "hostile-s3.log", always=f"s3-error:{status}:{code}")
        name = f"s3-{code.lower()}"
        world.node.add_class(name, {**harness.LOOPBACK, "s3Endpoint": server.url("").rstrip("/"), "s3Region": s3.REGION})
        pod = world.node.pod("s3-expired")
        # A clock that is wrong is no matter of rights: somebody must set it.
        codes = (Code.FAILED_PRECONDITION,) if code == "RequestTimeTooSkewed" else (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
        pod.final(codes, lambda p=pod, n=name: p.publish(
            "s3://data/plain -> x", storageClass=n, secrets=session), "input 1", absent=("token-of-the-pod", "error-page"))
        need(server.requests("/data/plain") and all(r["authorized"] for r in server.requests("/data/plain")), "not asked, or not signed")
        server.stop()


@test("s3 one-object-for-two-identities")
def identities(world):
    """Strong validators: the second key holder's hit is authorised, not downloaded."""
    body = b"i" * 3000000
    world.s3.put("data", "identities", body)
    for _ in range(2):
        pod = world.node.pod("s3-identity")
        pod.publish("s3://data/identities", storageClass="s3", secrets=SECRETS)
        need(pod.read("identities") == body, "contents")
        pod.unpublish()


@test("https basic-credentials")
def basic(world):
    url = world.file("auth/private.txt", b"private")
    good = {"username": "reader", "password": "swordfish"}
    pod = world.node.pod("basic")
    pod.publish(url, secrets=good)
    need(pod.read("private.txt") == b"private", "contents")
    for secrets in ({}, {"username": "reader", "password": "guess"}):
        other = world.node.pod("basic-bad")
        other.final(Code.UNAUTHENTICATED, lambda o=other, s=secrets: o.publish(url, secrets=s), "input 1", "401", absent=("guess",))
    pod.unpublish()
