"""One volume of one pod on a plugin that may die at any step: the calls that kubelet makes, and what must hold afterwards."""

import hashlib
import os
import pathlib
import threading

import csi_pb2
import grpc
import harness
from harness import need

SIZES = {"large.bin": 20 << 20, "deep/small.txt": 1000, "empty": 0}


def content(name):
    block = hashlib.sha256(name.encode()).digest() * 32
    return (block * (SIZES[name] // len(block) + 1))[: SIZES[name]]


class Volume:
    """kind: inline (NodePublish and NodeUnpublish alone) or claim (staged first). storage_class decides where its bytes lie."""

    def __init__(self, node, origin, kind, storage_class):
        self.node, self.kind = node, kind
        self.context = {"inputs": "\n".join(f"{origin.url(name)} -> {name}" for name in SIZES), "storageClass": storage_class}
        for key, value in {"pod.name": "p", "pod.namespace": "ml", "pod.uid": "u", "ephemeral": str(kind == "inline").lower()}.items():
            self.context[f"csi.storage.k8s.io/{key}"] = value
        self.id = "csi-" + hashlib.sha256(str(node.dir).encode()).hexdigest() if kind == "inline" else "pv-1"
        self.target = node.kubelet / "pods/u/volumes/kubernetes.io~csi/inputs/mount"
        self.target.parent.mkdir(parents=True, mode=0o750)
        self.staging = node.kubelet / "plugins/staging/globalmount"
        self.staging.mkdir(parents=True)

    def call(self, step, timeout=40):
        context = {key: value for key, value in self.context.items() if step == "publish" or not key.startswith("csi.storage")}
        staging = str(self.staging) if self.kind == "claim" else ""
        method, request = {
            "stage": ("NodeStageVolume", csi_pb2.NodeStageVolumeRequest(
                volume_id=self.id, staging_target_path=str(self.staging), volume_capability=harness.capability(), volume_context=context)),
            "publish": ("NodePublishVolume", csi_pb2.NodePublishVolumeRequest(
                volume_id=self.id, target_path=str(self.target), staging_target_path=staging,
                volume_capability=harness.capability(), volume_context=context)),
            "unpublish": ("NodeUnpublishVolume", csi_pb2.NodeUnpublishVolumeRequest(volume_id=self.id, target_path=str(self.target))),
            "unstage": ("NodeUnstageVolume", csi_pb2.NodeUnstageVolumeRequest(volume_id=self.id, staging_target_path=str(self.staging))),
        }[step]
        return self.node.call(method, request, timeout=timeout)

    def steps(self):
        return ["publish", "unpublish"] if self.kind == "inline" else ["stage", "publish", "unpublish", "unstage"]

    def mounts(self):
        return harness.mounts(self.target)

    def check_published(self):
        need(len(self.mounts()) == 1, lambda: f"{len(self.mounts())} mounts at the target: {self.mounts()}")
        need(self.mounts()[0][3].startswith("ro,"), lambda: f"not read-only: {self.mounts()}")
        for name, size in SIZES.items():
            data = (self.target / name).read_bytes()
            need(data == content(name), f"{name}: {len(data)} of {size} bytes, or other bytes")
        found = sorted(str(each.relative_to(self.target)) for each in self.target.rglob("*") if each.is_file())
        need(found == sorted(SIZES), found)

    def check_gone(self, partials_may_stay=False):
        """After the last call: no mount, no target, no record, no layer, no share, no partial download."""
        state = self.node.state
        left = harness.mounts(self.node.kubelet) + [m for m in harness.mounts(state) if m[1] != str(state)]
        need(not left, lambda: f"mounts left: {left}")
        need(not os.path.lexists(self.target), "the target is left")
        for directory in ("volumes", "staged", "layers", "shares"):
            names = [each.name for each in (state / directory).iterdir()] if (state / directory).exists() else []
            need(not names, f"left in {directory}/: {names}")
        for root in (state / "store", *self.node.shares):
            need(partials_may_stay or not partials(root), lambda root=root: f"partials left: {partials(root)}")
            check_store(root)


def partials(root):
    incoming = pathlib.Path(root) / "incoming"
    return sorted(str(each.relative_to(root)) for each in incoming.rglob("*") if each.is_file()) if incoming.exists() else []


def check_store(root):
    """Rows 85 and 90: whatever has an object's name is whole, and is what some input holds; a mark has its objects."""
    whole = {content(name) for name in SIZES}
    for each in (pathlib.Path(root) / "objects").glob("??/*"):
        if len(each.name) == 64:
            need(each.read_bytes() in whole, f"object {each.name} is not whole")
            need(each.stat().st_mode & 0o777 == 0o444, f"object {each.name}: mode {oct(each.stat().st_mode)}")


class Background:
    """A call on a thread of its own: the plugin may die under it."""

    def __init__(self, function):
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(function,), daemon=True)
        self.thread.start()

    def run(self, function):
        try:
            function()
        except grpc.RpcError as error:
            self.error = error

    def is_over(self):
        return not self.thread.is_alive()

    def join(self):
        self.thread.join(60)
        need(self.is_over(), "the call does not end")
        return self.error
