"""A hit is served only after the source said yes to this pod's own identity (DESIGN, sections 2 and 9): what one identity cached, asked for by
others; by single object, prefix and glob; under both rules; with the source down. What is looked at of the store is watched."""

import ctypes
import itertools
import os
import pathlib
import struct

import bulk_s3
import csi_pb2
import guard
import harness
import hostile
from harness import Code, Node, capability, need, test

BODY = b"what alice may read" * 1000
KEYS = ("set/a.bin", "set/b.bin", "set/deep/c.bin")
INPUTS = ("s3://{}/set/a.bin -> d/x", "s3://{}/set/ -> d/", "s3://{}/set/**/*.bin -> d/")
DENIED = (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED)
NUMBERS = itertools.count()


class Expiry(guard.AwsKeys):
    """Refuses whoever comes with a session token, as S3 does with one that has run out."""

    def refuse(self, request, principal):
        if request.headers.get("x-amz-security-token"):
            return guard.xml_error(400, "ExpiredToken", "The provided token has expired.")
        return None


class Watch:
    """inotify on the store's directories: whatever is opened there."""
    OPEN, DIRECTORY = 0x20, 0x40000000

    def __init__(self, root):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.names = {}
        for path in (root, *(path for path in pathlib.Path(root).rglob("*") if path.is_dir())):
            self.names[self.libc.inotify_add_watch(self.fd, os.fsencode(path), self.OPEN)] = path
        need(self.fd >= 0 and -1 not in self.names, "inotify")

    def opened(self):
        """Files that were opened since the last look."""
        found = []
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return found
            while data:
                watch, mask, _, length = struct.unpack_from("iIII", data)
                name = data[16:16 + length].rstrip(b"\0").decode()
                if name and not mask & self.DIRECTORY:
                    found.append(str(self.names.get(watch, "?") / name))
                data = data[16 + length:]

    def close(self):
        os.close(self.fd)


class Place:
    """A bucket that alice may read and bob may not, behind a guard that can be down; a plugin with a store of its own."""

    def __init__(self, world, **parameters):
        number = next(NUMBERS)
        self.server, self.bucket = world.versity, f"identity-{number}"
        self.guard = world.guard(self.server.port, Expiry())
        self.server.make_bucket(self.bucket, readers=["alice"])
        for key in KEYS:
            self.server.put(self.bucket, key, BODY + key.encode())
        settings = {**harness.LOOPBACK, "s3Endpoint": self.guard.url().rstrip("/"), "s3Region": "us-east-1", **parameters}
        self.node = Node(f"identity-{number}", {"prefix": {**settings, "authorize": "prefix"}, "object": {**settings, "authorize": "object"}}).start()
        alice, bob = (self.server.keys[name].pod_secret for name in ("alice", "bob"))
        self.alice = alice
        self.others = {"without": {}, "of somebody else": bob, "wrong": {**alice, "AWS_SECRET_ACCESS_KEY": "wrong"},
                       "expired": {**alice, "AWS_SESSION_TOKEN": "run-out"}}

    def served(self, line, rule):
        pod = self.node.pod("served")
        pod.publish_as_kubelet(line.format(self.bucket), storageClass=rule, secrets=self.alice)
        contents = sorted(path.read_bytes() for path in (pod.target / "d").rglob("*") if path.is_file())
        keys = KEYS[:1] if line == INPUTS[0] else KEYS
        need(contents == sorted(BODY + key.encode() for key in keys), f"contents of {line}")
        pod.unpublish_as_kubelet()

    def refused(self, line, rule, secrets, codes=DENIED):
        pod = self.node.pod("refused")
        pod.final(codes, lambda: pod.publish(line.format(self.bucket), storageClass=rule, secrets=secrets), "input 1")

    def store(self):
        return self.node.state / "store"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.node.stop()


@test("identity refused-refused-refused-served")
def refused_refused_served(world):
    for ttl in ("0s", "1h"):
        with Place(world, answerTTL=ttl) as place:
            for line, rule in itertools.product(INPUTS, ("prefix", "object")):
                place.served(line, rule)
                for secrets in place.others.values():
                    place.refused(line, rule, secrets)
                place.served(line, rule)


@test("identity no-look-at-the-store-before-a-refusal")
def no_look(world):
    """Row 42. The same watch sees what a hit opens."""
    with Place(world) as place:
        for line, rule in itertools.product(INPUTS, ("prefix", "object")):
            place.served(line, rule)
        watch = Watch(place.store())
        for line, rule, secrets in itertools.product(INPUTS, ("prefix", "object"), place.others.values()):
            place.refused(line, rule, secrets)
            opened = watch.opened()
            need(not opened, f"opened before the refusal of {line}: {opened[:3]}")
        for line in INPUTS:
            place.served(line, "prefix")
            opened = watch.opened()
            need(any(path.endswith("FORMAT") for path in opened) and any("/snapshots/" in path for path in opened), f"the watch saw {opened}")
        watch.close()


@test("identity source-down-under-both-rules", slow=True)
def source_down(world):
    """Rows 46 and 47: the default is no; a class's time of grace is for those who were let in, until they are refused."""
    with Place(world) as strict, Place(world, unreachableGrace="1h") as lenient:
        for line, rule in itertools.product(INPUTS[:2], ("prefix", "object")):
            strict.served(line, rule)
            lenient.served(line, rule)
        with strict.guard.is_down(), lenient.guard.is_down():
            for line, rule in itertools.product(INPUTS[:2], ("prefix", "object")):
                strict.refused(line, rule, strict.alice, (Code.UNAVAILABLE,))
                lenient.served(line, rule)
            lenient.refused(INPUTS[1], "prefix", lenient.others["of somebody else"], (Code.UNAVAILABLE,))
        lenient.server.grant(lenient.bucket, ["root"])
        lenient.refused(INPUTS[1], "prefix", lenient.alice)
        with lenient.guard.is_down():
            lenient.refused(INPUTS[1], "prefix", lenient.alice, (Code.UNAVAILABLE,))


@test("identity one-claim-of-two-identities")
def one_claim(world):
    """One volume, two pods on one node that show different identities: one is served, the other refused, also while the first fill runs."""
    with Place(world, answerTTL="1h") as place:
        volume, results = "sc-shared-by-two", {}
        staging = place.node.kubelet / "plugins" / "staging-two"
        staging.mkdir(parents=True)
        context = {"storageClass": "prefix", "inputs": INPUTS[1].format(place.bucket)}
        shared = {"volume_id": volume, "staging_target_path": str(staging), "volume_capability": capability(
            harness.MODE.MULTI_NODE_READER_ONLY)}
        place.node.call("NodeStageVolume", csi_pb2.NodeStageVolumeRequest(volume_context=context, **shared))
        for name, secrets in (("alice", place.alice), ("bob", place.others["of somebody else"]), ("again", place.alice)):
            pod = place.node.pod(name)
            info = {"pod.name": pod.name, "pod.namespace": "team-a", "pod.uid": pod.uid, "serviceAccount.name": name, "ephemeral": "false"}
            request = csi_pb2.NodePublishVolumeRequest(target_path=str(pod.target), secrets=secrets, volume_context={
                **context, **{f"csi.storage.k8s.io/{key}": value for key, value in info.items()}}, **shared)
            if name == "bob":
                pod.final(DENIED, lambda p=request: place.node.call("NodePublishVolume", p), "input 1")
                continue
            place.node.call("NodePublishVolume", request)
            results[name] = pod.read("d/a.bin")
            place.node.call("NodeUnpublishVolume", csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume, target_path=str(pod.target)))
        need(set(results.values()) == {BODY + b"set/a.bin"} and len(results) == 2, "contents")
        place.node.call("NodeUnstageVolume", csi_pb2.NodeUnstageVolumeRequest(volume_id=volume, staging_target_path=str(staging)))


@test("identity a-wave-asks-once")
def wave(world):
    with Place(world, answerTTL="1h") as place:
        for line in INPUTS:
            place.served(line, "prefix")
        asked = place.guard.count()
        for line in INPUTS * 5:
            place.served(line, "prefix")
        need(place.guard.count() == asked, f"{place.guard.count() - asked} more requests")


@test("identity hostile-sources-name-what-is-not-theirs")
def hostile_sources(world):
    """A server that repeats the victim's bucket, key, size and ETag, and a URL that names the victim's sha256: they read nothing, change nothing."""
    bulk = world.kept(bulk_s3.BulkS3(harness.WORK / "bulk-victim", count=3))
    evil = world.kept(bulk_s3.BulkS3(harness.WORK / "bulk-evil", count=3))
    secrets = {"AWS_ACCESS_KEY_ID": bulk.access, "AWS_SECRET_ACCESS_KEY": bulk.secret}
    theirs = {"AWS_ACCESS_KEY_ID": evil.access, "AWS_SECRET_ACCESS_KEY": evil.secret}
    with Node("hostile-etag", {name: {**harness.LOOPBACK, "s3Endpoint": server.endpoint, "s3Region": "us-east-1"}
                               for name, server in (("victim", bulk), ("evil", evil))}) as node:
        pod = node.pod("victim")
        pod.publish_as_kubelet("s3://bulk/data/ -> d/", storageClass="victim", secrets=secrets)
        objects = {path: path.stat().st_ino for path in (node.state / "store" / "objects").rglob("*") if path.is_file()}
        before = evil.stats()["get"]
        other = node.pod("evil")
        other.publish_as_kubelet("s3://bulk/data/ -> d/", storageClass="evil", secrets=theirs)
        need(evil.stats()["get"] >= before + 3, "its own bytes were downloaded, though key, size and ETag are the victim's")
        need({path: path.stat().st_ino for path in objects} == objects, "the victim's objects changed")
        other.unpublish_as_kubelet()
        digest = hostile.sha256(2000, "victim-digest")
        victim = node.pod("digest")
        victim.publish_as_kubelet(f"{world.hostile.url('plain/2000/victim-digest')} -> x sha256={digest}", storageClass="victim")
        thief = node.pod("thief")
        thief.final(Code.FAILED_PRECONDITION, lambda: thief.publish(
            f"{world.hostile.url('plain/2000/something-else')} -> x sha256={digest}", storageClass="victim"), "sha256 expected")
        need(victim.read("x") == hostile.content(2000, "victim-digest"), "the victim's contents")
        for each in (victim, pod):
            each.unpublish_as_kubelet()
