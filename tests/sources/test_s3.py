"""S3 with the secret's keys, on servers of two makes that verify each signature, and seen through a guard that counts."""

import contextlib
import hashlib

import guard
import s3
from harness import Code, need, test

# What has to be written differently in a path, in a canonical request and in a file's name.
KEYS = ("plain", "dir/with space", "plus+plus", "per%cent%20encoded", "uni-ü-日本語-😀", "a=b&c;d", "tilde~and'quote(1)!*", "semi;colon@at,comma$",
        "deep/er/est/key.tar.gz", "bracket[1]{2}", "back\\slash^caret`", "question?mark#hash", "quote\"<less>|pipe", "trailing.dot.", "x" * 200,
        "é-composed-e\u0301-decomposed", ".hidden", "%2F", "a:b")
DENIED = (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED)
MAKES = ("versity", "minio")


class Place:
    """One server behind a guard, with a class of its own and a bucket that alice may read."""
    made = {}

    def __init__(self, world, make):
        self.server = getattr(world, make)
        self.guard = world.guard(self.server.port, guard.AwsKeys())
        self.bucket = f"data-{make}"
        self.server.make_bucket(self.bucket, readers=["alice"], versions=True)
        where = {"s3Endpoint": self.guard.url().rstrip("/"), "s3Region": "us-east-1"}
        self.storage_class = world.add_class(f"s3-{make}", **where)
        # Answers count for an identity, and for no other, as long as the test takes.
        self.answers_count = world.add_class(f"s3-{make}-answers", answerTTL="10m", **where)

    def url(self, key, query=""):
        return f"s3://{self.bucket}/" + s3.encode(key, "/") + query

    def secrets(self, account):
        return self.server.keys[account].pod_secret

    def publish(self, pod, inputs, account="alice", **options):
        options.setdefault("secrets", self.secrets(account) if account else {})
        options.setdefault("storageClass", self.storage_class)
        return pod.publish_as_kubelet(inputs, **options)

    def refused(self, world, code, inputs, *words, **options):
        return self.refused_inputs(world, code, f"{inputs} -> x", *words, **options)

    def refused_inputs(self, world, code, inputs, *words, secrets=None, account="alice", storage_class=None):
        pod, secrets = world.node.pod("s3-refused"), self.secrets(account) if secrets is None else secrets
        return pod.final(code, lambda: pod.publish(inputs, storageClass=storage_class or self.storage_class, secrets=secrets), "input 1", *words,
                         absent=[value for value in secrets.values() if len(value) > 20])

    def body_requests(self, key):
        """GETs of an object that reached the store and asked for more than one byte."""
        path = f"/{self.bucket}/" + s3.encode(key, "/")
        return [record for record in self.guard.requests(path=path, refused=False) if record["method"] == "GET" and record["status"] < 300 and record["sent"] > 1]


def place(world, make):
    with world.lock:
        if make not in Place.made:
            Place.made[make] = Place(world, make)
        return Place.made[make]


def on_both(name, **options):
    """Registers a test for each make."""
    def register(function):
        for make in MAKES:
            test(f"s3 {make} {name}", **options)(lambda world, m=make: function(world, place(world, m)))
        return function
    return register


@contextlib.contextmanager
def published(world, at, inputs, **options):
    pod = world.node.pod("s3")
    at.publish(pod, inputs, **options)
    yield pod
    pod.unpublish()


@on_both("keys-of-every-kind")
def keys(world, at):
    contents = {key: (key * 100).encode() for key in KEYS}
    for key, body in contents.items():
        at.server.put(at.bucket, key, body)
    lines = [f"{at.url(key)} -> file-{number}" for number, key in enumerate(contents)]
    with published(world, at, "\n".join(lines[:10])) as pod:
        for number, body in list(enumerate(contents.values()))[:10]:
            need(pod.read(f"file-{number}") == body, KEYS[number])
    with published(world, at, "\n".join(lines[10:])) as pod:
        for number, body in list(enumerate(contents.values()))[10:]:
            need(pod.read(f"file-{number}") == body, KEYS[number])
    with published(world, at, at.url("uni-ü-日本語-😀")) as pod:
        need([each.name for each in pod.target.iterdir()] == ["uni-ü-日本語-😀"], "default name")
    need({record["principal"] for record in at.guard.requests(path=f"/{at.bucket}/plain")} == {at.server.keys["alice"].access}, "who asked")


@on_both("large-object-in-parts")
def large(world, at):
    body = hashlib.shake_128(at.bucket.encode()).digest(24 << 20)
    at.server.put(at.bucket, "large.bin", body)
    with published(world, at, at.url("large.bin")) as pod:
        need(hashlib.sha256(pod.read("large.bin")).digest() == hashlib.sha256(body).digest(), "contents")
    sent = sum(record["sent"] for record in at.body_requests("large.bin"))
    need(len(body) <= sent <= len(body) + 10, f"{sent} bytes left the store")
    need(any(record["range"] for record in at.body_requests("large.bin")), "no part was asked for by its range")


@on_both("uploaded-in-parts")
def uploaded_in_parts(world, at):
    """Its ETag is no digest of the contents."""
    client, bodies = at.server.client(), [bytes([number]) * (5 << 20) for number in range(2)] + [b"the end"]
    upload = client.create_multipart_upload(Bucket=at.bucket, Key="composite")["UploadId"]
    parts = [{"PartNumber": number, "ETag": client.upload_part(Bucket=at.bucket, Key="composite", UploadId=upload, PartNumber=number, Body=body)["ETag"]}
             for number, body in enumerate(bodies, 1)]
    etag = client.complete_multipart_upload(Bucket=at.bucket, Key="composite", UploadId=upload, MultipartUpload={"Parts": parts})["ETag"]
    need(etag.strip('"').endswith("-3"), f"the ETag is {etag}")
    with published(world, at, at.url("composite")) as pod:
        need(pod.read("composite") == b"".join(bodies), "contents")


@on_both("wrong-keys")
def wrong_keys(world, at):
    at.server.put(at.bucket, "secret-plan", b"not for everybody")
    right = at.secrets("alice")

    def all_refused():
        at.refused(world, DENIED, at.url("secret-plan"), "signature|403", secrets={**right, "AWS_SECRET_ACCESS_KEY": "wrong"})
        # versitygw says 404 for a key that it does not know, where AWS says 403.
        at.refused(world, (*DENIED, Code.NOT_FOUND), at.url("secret-plan"), secrets={**right, "AWS_ACCESS_KEY_ID": "NOBODYSACCESSKEY"})
        at.refused(world, DENIED, at.url("secret-plan"), secrets={})
    all_refused()
    need(not at.body_requests("secret-plan"), "contents left the store for a wrong key")
    # After somebody with the right key has brought it into the cache, wrong ones still get nothing.
    with published(world, at, at.url("secret-plan")) as pod:
        need(pod.read("secret-plan") == b"not for everybody", "contents")
        all_refused()


@on_both("account-without-the-right")
def without_right(world, at):
    at.server.put(at.bucket, "alices", b"a" * 100000)
    rules = {"storage_class": at.answers_count}
    at.refused(world, Code.PERMISSION_DENIED, at.url("alices"), "403", account="bob", **rules)
    with published(world, at, at.url("alices"), storageClass=at.answers_count):
        before = len(at.body_requests("alices"))
        message = at.refused(world, Code.PERMISSION_DENIED, at.url("alices"), "403", account="bob", **rules)
        need(len(at.body_requests("alices")) == before, f"contents left the store for bob: {message}")
        asked = at.guard.count(path=f"/{at.bucket}/alices")
        with published(world, at, at.url("alices"), storageClass=at.answers_count):
            need(at.guard.count(path=f"/{at.bucket}/alices") == asked, "the answer to alice did not count for her")
    with published(world, at, at.url("alices"), account="root") as pod:
        need(pod.read("alices") == b"a" * 100000 and len(at.body_requests("alices")) == before, "one object serves both who may")


@on_both("what-is-not-there")
def not_there(world, at):
    at.refused(world, Code.NOT_FOUND, at.url("no-such-key"), "404")
    at.refused(world, (Code.NOT_FOUND, Code.PERMISSION_DENIED), "s3://no-such-bucket-at-all/key", account="root")


@on_both("version-pins")
def versions(world, at):
    old = at.server.put(at.bucket, "versioned", b"old" * 1000)["VersionId"]
    new = at.server.put(at.bucket, "versioned", b"new" * 1000)["VersionId"]
    inputs = f"{at.url('versioned')} -> now\n{at.url('versioned', '?versionId=' + old)} -> old\n{at.url('versioned', '?versionId=' + new)} -> new"
    with published(world, at, inputs) as pod:
        need([pod.read(name)[:3] for name in ("now", "old", "new")] == [b"new", b"old", b"new"], "versions")
        at.server.put(at.bucket, "versioned", b"later" * 1000)
        with published(world, at, inputs) as later:
            need([later.read(name)[:3] for name in ("now", "old", "new")] == [b"lat", b"old", b"new"], "versions after a change")
        need(pod.read("now")[:3] == b"new", "what a pod reads changed under it")
    at.refused(world, (Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION), at.url("versioned", "?versionId=" + "0" * len(old)))


@on_both("store-that-is-away", slow=True)
def away(world, at):
    """A hit is not served either: the class does not say otherwise."""
    at.server.put(at.bucket, "away", b"away")
    own = world.guard(at.server.port)
    name = world.add_class(f"{at.storage_class}-away", s3Endpoint=own.url().rstrip("/"), s3Region="us-east-1", answerTTL="0s")
    pod = world.node.pod("s3-there")
    pod.publish(at.url("away"), storageClass=name, secrets=at.secrets("alice"))
    with own.is_down():
        other = world.node.pod("s3-away")
        other.final(Code.UNAVAILABLE, lambda: other.publish(at.url("away"), storageClass=name, secrets=at.secrets("alice")), "input 1")
        need(pod.read("away") == b"away", "a volume that is there was touched")
    pod.unpublish()
