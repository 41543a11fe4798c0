"""Claims: the controller against a stand-in for the Kubernetes API, called as the external-provisioner calls it, and the node with what
came out of it."""

import contextlib
import hashlib
import itertools
import shutil
import subprocess
import threading
import time
import uuid

import csi_pb2
import harness
import kube_api
from harness import MODE, Code, capability, expect, need, test

INPUTS = "csi.sharedcache.io/inputs"
FROM = "csi.sharedcache.io/inputs-from"
COPY = "csi.sharedcache.io/copy-policy"
MANY = MODE.MULTI_NODE_READER_ONLY


class Claim:
    """One claim, and the calls that a provisioner makes for it."""
    numbers = itertools.count(1)

    def __init__(self, cluster, annotations, storage_class="direct", namespace="team-a", parameters=None, of_pod=False):
        self.cluster, self.namespace, self.storage_class = cluster, namespace, storage_class
        self.name = f"data-{next(self.numbers)}"
        self.parameters = parameters or {}
        self.of_pod = of_pod
        self.path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{self.name}"
        self.annotate(annotations)

    def annotate(self, annotations, uid=None):
        self.uid = uid or getattr(self, "uid", None) or str(uuid.uuid4())
        owners = [{"apiVersion": "v1", "kind": "Pod", "name": "train", "uid": str(uuid.uuid4()), "controller": True}]
        self.cluster.api.put(self.path, {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": self.name, "namespace": self.namespace, "uid": self.uid, "finalizers": ["kubernetes.io/pvc-protection"],
                         "annotations": {"volume.kubernetes.io/storage-provisioner": harness.DRIVER, **annotations},
                         **({"ownerReferences": owners} if self.of_pod else {})},
            "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}},
                     "storageClassName": self.storage_class, "volumeMode": "Filesystem"},
            "status": {"phase": "Pending"}})

    @property
    def metadata(self):
        return {"csi.storage.k8s.io/pvc/name": self.name, "csi.storage.k8s.io/pvc/namespace": self.namespace,
                "csi.storage.k8s.io/pv/name": f"pvc-{self.uid}"}

    def create(self, mode=MANY, flags=(), timeout=15, **fields):
        wanted = capability(mode)
        wanted.mount.mount_flags.extend(flags)
        fields.setdefault("parameters", {**self.parameters, **self.metadata})
        return self.cluster.controller.call("CreateVolume", csi_pb2.CreateVolumeRequest(
            name=f"pvc-{self.uid}", capacity_range=csi_pb2.CapacityRange(required_bytes=1 << 30), volume_capabilities=[wanted],
            **fields), timeout=timeout).volume

    def delete(self):
        volume = "sc-" + hashlib.sha256(f"pvc-{self.uid}".encode()).hexdigest()
        self.cluster.controller.call("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume))
        self.cluster.api.delete(self.path)


class Cluster:
    """An API server and a controller that asks it."""

    def __init__(self, name):
        self.api = kube_api.KubeApi(harness.WORK / f"{name}-api")
        self.controller = harness.Controller(name, self.api.flags)

    def claim(self, annotations, **options):
        return Claim(self, annotations, **options)

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, kind, *_):
        self.controller.stop()
        self.api.stop()
        if kind is None:
            need(not self.api.complaints, lambda: self.api.complaints)
            need(not list(self.controller.state.iterdir()), lambda: f"records left: {list(self.controller.state.iterdir())}")


@contextlib.contextmanager
def mounted(node, volume_id, context, pod, mode=MANY):
    """Staged and published as kubelet does it, and undone; yields the pod."""
    staging = node.kubelet / "plugins" / f"staging-{pod.name}"
    staging.mkdir(parents=True)
    shared = {"volume_id": volume_id, "staging_target_path": str(staging), "volume_capability": capability(mode)}
    node.call("NodeStageVolume", csi_pb2.NodeStageVolumeRequest(**shared, volume_context=context))
    pod.volume = volume_id
    try:
        node.call("NodePublishVolume", csi_pb2.NodePublishVolumeRequest(
            **shared, target_path=str(pod.target), volume_context={**context, **pod.context({}), "csi.storage.k8s.io/ephemeral": "false"}))
        yield pod
        pod.unpublish()
        pod.nothing_left()
    finally:
        node.call("NodeUnstageVolume", csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=str(staging)))


@test("claims from-the-annotation-to-the-pod")
def whole_way(world):
    url = world.file("claims/whole.txt", b"claimed")
    text = f"# what the job reads\n{url} -> in/\n"
    with Cluster("claims") as cluster:
        claim = cluster.claim({INPUTS: text})
        volume = claim.create()
        need(dict(volume.volume_context) == {"storageClass": "direct", "inputs": text}, volume.volume_context)
        need(volume.capacity_bytes == 0, volume)
        need([record["path"] for record in cluster.api.requests] == [claim.path], cluster.api.requests)
        for name in ("first", "second"):  # one claim, several pods
            with mounted(world.node, volume.volume_id, volume.volume_context, world.node.pod(name)) as pod:
                need(pod.read("in/whole.txt") == b"claimed", "contents")
        claim.delete()
        claim.delete()


@test("claims a-list-in-an-object-and-copies")
def inputs_from(world):
    url = world.file("claims/listed.txt", b"listed")
    listing = world.file("claims/list.txt", f"{url}\n".encode())
    with Cluster("claims-from") as cluster:
        claim = cluster.claim({FROM: listing, COPY: "copy"}, storage_class="choice", parameters={"podMayChoose": "copyPolicy"})
        volume = claim.create()
        need(dict(volume.volume_context) == {"storageClass": "choice", "inputsFrom": listing, "copyPolicy": "copy"}, volume)
        with mounted(world.node, volume.volume_id, volume.volume_context, world.node.pod("from")) as pod:
            need(pod.read("listed.txt") == b"listed", "contents")
        claim.delete()
        refused = cluster.claim({FROM: listing, COPY: "copy"})
        expect(Code.FAILED_PRECONDITION, refused.create, "StorageClass 'direct'", "podMayChoose")


@test("claims of-a-generic-ephemeral-volume")
def generic_ephemeral(world):
    url = world.file("claims/ephemeral.txt", b"for one pod")
    with Cluster("claims-ephemeral") as cluster:
        bare = cluster.claim({}, of_pod=True)
        expect(Code.FAILED_PRECONDITION, bare.create, r"csi\.sharedcache\.io/inputs", "volumeClaimTemplate", "pod anew")
        claim = cluster.claim({INPUTS: url}, of_pod=True)
        volume = claim.create(mode=MODE.SINGLE_NODE_WRITER)
        with mounted(world.node, volume.volume_id, volume.volume_context, world.node.pod("eph"), MODE.SINGLE_NODE_WRITER) as pod:
            need(pod.read("ephemeral.txt") == b"for one pod", "contents")
        claim.delete()


@test("claims mended-after-an-error")
def mended(_):
    """Each error names the annotation and the way out, leaves nothing behind, and goes once the claim is mended."""
    with Cluster("claims-mended") as cluster:
        claim = cluster.claim({})
        where = f"claim 'team-a/{claim.name}'"
        expect(Code.FAILED_PRECONDITION, claim.create, where, r"'csi\.sharedcache\.io/inputs' is missing", r"metadata\.annotations")
        need("volume=pvc-" in cluster.controller.log(), "the log does not name the volume")
        claim.annotate({"csi.sharedcache.io/input": "https://data.example.com/a"})
        expect(Code.FAILED_PRECONDITION, claim.create, where, r"unknown annotation 'csi\.sharedcache\.io/input'")
        claim.annotate({INPUTS: "https://data.example.com/a?X-Amz-Signature=signature-of-a-url\n\ngopher://data.example.com/b"})
        expect(Code.FAILED_PRECONDITION, claim.create, where, "line 3", "scheme", absent=("signature-of-a-url",))
        claim.annotate({INPUTS: "\n".join(f"https://data.example.com/{number:080}" for number in range(50))})
        expect(Code.FAILED_PRECONDITION, claim.create, where, "4096", r"csi\.sharedcache\.io/inputs-from")
        need(not list(cluster.controller.state.iterdir()), "a record of what was refused")
        claim.annotate({INPUTS: "https://data.example.com/a"})
        need(claim.create().volume_context["inputs"] == "https://data.example.com/a", "mended")
        claim.delete()


@test("claims a-class-that-is-wrong")
def wrong_class(_):
    with Cluster("claims-class") as cluster:
        text = {INPUTS: "https://data.example.com/a"}
        expect(Code.INVALID_ARGUMENT, cluster.claim(text, parameters={"copyPolice": "copy"}).create, "StorageClass 'direct'",
               "unknown class parameter 'copyPolice'")
        expect(Code.INVALID_ARGUMENT, cluster.claim(text, parameters={"inputs": "https://data.example.com/a"}).create,
               "StorageClass 'direct'", "unknown class parameter 'inputs'")
        efs = {"shareType": "efs", "share": "fs-1.efs.eu-west-1.amazonaws.com:/"}
        expect(Code.FAILED_PRECONDITION, lambda: cluster.claim(text, parameters=efs).create(flags=["tls"]), "StorageClass 'direct'", "tls")
        nobody = cluster.claim(text, parameters={"allowedNamespaces": "team-b, ml-*"})
        expect(Code.PERMISSION_DENIED, nobody.create, "StorageClass 'direct'", "namespace 'team-a'", "allowedNamespaces")
        ours = cluster.claim(text, parameters={"allowedSources": "s3://ours/"})
        expect(Code.PERMISSION_DENIED, ours.create, "inputs line 1", r"https://data\.example\.com/a", "allowedSources")
        listed = cluster.claim({FROM: "https://data.example.com/l"}, parameters={"allowedSources": "s3://ours/"})
        expect(Code.PERMISSION_DENIED, listed.create, "allowedSources")
        claim = cluster.claim(text)
        expect(Code.FAILED_PRECONDITION, lambda: claim.create(parameters={}), "--extra-create-metadata")


@test("claims another-namespace-gains-nothing")
def other_namespace(world):
    """The volume of an allowed namespace, published for a pod of another one: the node asks the class again."""
    url = world.file("claims/ours.txt", b"ours")
    with Cluster("claims-namespace") as cluster:
        claim = cluster.claim({INPUTS: url}, storage_class="ours-only", namespace="ml-a", parameters={"allowedNamespaces": "ml-*"})
        volume = claim.create()
        stranger, friend = world.node.pod("stranger"), world.node.pod("friend")
        friend.namespace = "ml-a"
        with mounted(world.node, volume.volume_id, volume.volume_context, friend):
            need(friend.read("ours.txt") == b"ours", "contents")

        def publish():
            with mounted(world.node, volume.volume_id, volume.volume_context, stranger):
                pass
        stranger.final(Code.PERMISSION_DENIED, publish, "allowedNamespaces", "team-a")
        claim.delete()


@test("claims an-api-server-that-does-not-answer")
def api_dead(_):
    """Codes that make the provisioner come again, within the call's time; then the same call works."""
    with Cluster("claims-dead") as cluster:
        claim = cluster.claim({INPUTS: "https://data.example.com/a"})
        cluster.api.stop()
        expect(Code.UNAVAILABLE, claim.create, f"claim 'team-a/{claim.name}'", "Kubernetes API")
        cluster.api.start()
        cluster.api.hang()
        started = time.monotonic()
        expect((Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE), lambda: claim.create(timeout=4))
        need(time.monotonic() - started < 10, "the call's time was not kept")
        cluster.api.resume()
        for status, code in ((500, Code.UNAVAILABLE), (503, Code.UNAVAILABLE), (429, Code.RESOURCE_EXHAUSTED)):
            cluster.api.status = status
            expect(code, claim.create, "Kubernetes API")
        cluster.api.status = 400
        expect(Code.INTERNAL, claim.create, "Kubernetes API")
        cluster.api.status = None
        cluster.api.forbidden = ["persistentvolumeclaims"]
        expect(Code.FAILED_PRECONDITION, claim.create, "get for persistentvolumeclaims", "forbidden")
        cluster.api.forbidden = []
        claim.create()
        claim.delete()


@test("claims gone-or-made-anew")
def claim_gone(_):
    """NOT_FOUND is final for the provisioner: it stops asking for a claim that is gone."""
    with Cluster("claims-gone") as cluster:
        claim = cluster.claim({INPUTS: "https://data.example.com/a"})
        cluster.api.delete(claim.path)
        expect(Code.NOT_FOUND, claim.create, f"claim 'team-a/{claim.name}'", "does not exist")
        first = claim.uid
        claim.annotate({INPUTS: "https://data.example.com/other"}, uid=str(uuid.uuid4()))
        claim.uid = first
        expect(Code.NOT_FOUND, claim.create, "another claim of its name")


@test("claims repeated-and-with-other-arguments")
def repeated(_):
    """A repeated call gives the same volume, also when the controller has lost all that it had written down."""
    with Cluster("claims-repeated") as cluster:
        claim = cluster.claim({INPUTS: "https://data.example.com/a"})
        first = claim.create()
        need(claim.create() == first, "not idempotent")
        expect(Code.ALREADY_EXISTS, lambda: claim.create(mode=MODE.SINGLE_NODE_WRITER), "claim")
        expect(Code.ALREADY_EXISTS, lambda: claim.create(parameters={"maxFiles": "5", **claim.metadata}))
        record, = cluster.controller.state.iterdir()
        record.write_bytes(record.read_bytes()[:-5])
        need(claim.create() == first, "a damaged record")
        cluster.controller.stop()
        shutil.rmtree(cluster.controller.state)
        cluster.controller.start()
        need(claim.create() == first, "the records were lost")
        answers = []
        calls = [threading.Thread(target=lambda: answers.append(claim.create())) for _ in range(16)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        need(len(answers) == 16 and all(answer == first for answer in answers), f"{len(answers)} answers")
        claim.delete()


@test("claims a-full-state-directory")
def full_disk(_):
    """Records are a convenience: volumes are made and deleted without them."""
    with Cluster("claims-full") as cluster:
        state = cluster.controller.state
        cluster.controller.stop()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=16k,mode=700,uid={harness.Controller.UID}", "records", state], check=True)
        try:
            cluster.controller.start()
            claims = [cluster.claim({INPUTS: f"https://data.example.com/{number}"}) for number in range(10)]
            first = [claim.create() for claim in claims]
            need("volume_not_recorded" in cluster.controller.log(), "the directory was not full")
            need([claim.create() for claim in claims] == first, "not idempotent")
            for claim in claims:
                claim.delete()
            need(not list(state.iterdir()), lambda: f"left: {list(state.iterdir())}")
        finally:
            cluster.controller.stop()
            subprocess.run(["umount", state], check=True)


@test("claims sigterm-while-the-api-hangs", slow=True)
def sigterm(_):
    with Cluster("claims-sigterm") as cluster:
        claim = cluster.claim({INPUTS: "https://data.example.com/a"})
        cluster.api.hang()
        failed = []

        def create():
            failed.append(expect((Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE), lambda: claim.create(timeout=60)))
        call = threading.Thread(target=create)
        call.start()
        harness.wait_until(lambda: cluster.api.asked(claim.path), 10, "the controller asks")
        cluster.controller.stop()
        call.join(5)
        need(failed and not call.is_alive(), "the call was not answered")
        need(cluster.controller.process.returncode == 0, cluster.controller.process.returncode)


@test("claims static-volumes")
def static_volumes(world):
    """PersistentVolumes that an admin wrote: by the class's name, or with all parameters of their own."""
    url = world.file("claims/static.txt", b"static")
    share = harness.WORK / "share-of-a-static-volume"
    share.mkdir(mode=0o755)
    for name, context in (("by-class", {"storageClass": "direct", "inputs": url}),
                          ("by-itself", {**harness.LOOPBACK, "shareType": "local", "share": str(share), "inputs": url}),
                          ("on-top", {"storageClass": "direct", "copyPolicy": "copy", "inputs": url})):
        with mounted(world.node, f"pv-{name}", context, world.node.pod(name)) as pod:
            need(pod.read("static.txt") == b"static", "contents")
    need((share / "FORMAT").exists(), "the volume's own share was not used")
