"""kubelet's part: CSI calls over the plugin's socket by grpcio, pods' directories, volumes."""

import hashlib
import os
import sys
import threading
import time

import grpc

sys.path.insert(0, sys.argv[4])  # generated from the tree's csi.proto

import csi_pb2 as pb

CODES = {code.value[0]: code.name for code in grpc.StatusCode}
NON_FINAL = {"CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"}


class Answer:
    def __init__(self, code, message, seconds, reply=None):
        self.code, self.message, self.seconds, self.reply = code, message, seconds, reply

    @property
    def ok(self):
        return self.code == "OK"

    def __repr__(self):
        return f"{self.code} after {self.seconds:.1f} s: {self.message}"


def _as_kubelet_asks(request):
    request.volume_capability.mount.fs_type = ""
    request.volume_capability.access_mode.mode = pb.VolumeCapability.AccessMode.SINGLE_NODE_WRITER


class Client:
    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix://{socket}", options=[("grpc.enable_retries", 0)])

    def call(self, service, method, request, seconds):
        """The plugin's answer. A deadline that grpcio itself had to enforce is told apart: LATE."""
        reply = getattr(pb, f"{method}Response")
        stub = self.channel.unary_unary(f"/csi.v1.{service}/{method}", request_serializer=type(request).SerializeToString,
                                        response_deserializer=reply.FromString)
        started = time.monotonic()
        try:
            reply = stub(request, timeout=seconds)
            return Answer("OK", "", time.monotonic() - started, reply)
        except grpc.RpcError as error:
            code = error.code().name
            if code == "DEADLINE_EXCEEDED" and error.details() == "Deadline Exceeded":
                code = "LATE"
            return Answer(code, error.details(), time.monotonic() - started)

    def probe(self, seconds=10):
        return self.call("Identity", "Probe", pb.ProbeRequest(), seconds)

    def stage(self, volume, seconds=60):
        request = pb.NodeStageVolumeRequest(volume_id=volume.id, staging_target_path=volume.staging, volume_context=volume.context)
        _as_kubelet_asks(request)
        os.makedirs(volume.staging, mode=0o750, exist_ok=True)
        return self.call("Node", "NodeStageVolume", request, seconds)

    def unstage(self, volume, seconds=60):
        request = pb.NodeUnstageVolumeRequest(volume_id=volume.id, staging_target_path=volume.staging)
        return self.call("Node", "NodeUnstageVolume", request, seconds)

    def publish(self, volume, seconds=60):
        request = pb.NodePublishVolumeRequest(volume_id=volume.id, target_path=volume.target, volume_context=volume.context,
                                              staging_target_path=volume.staging)
        _as_kubelet_asks(request)
        os.makedirs(os.path.dirname(volume.target), mode=0o750, exist_ok=True)
        return self.call("Node", "NodePublishVolume", request, seconds)

    def unpublish(self, volume, seconds=60):
        request = pb.NodeUnpublishVolumeRequest(volume_id=volume.id, target_path=volume.target)
        return self.call("Node", "NodeUnpublishVolume", request, seconds)

    def stats(self, volume, seconds=10):
        request = pb.NodeGetVolumeStatsRequest(volume_id=volume.id, volume_path=volume.target)
        return self.call("Node", "NodeGetVolumeStats", request, seconds)

    def close(self):
        self.channel.close()


class Later(threading.Thread):
    """A call on a thread of its own; answer() waits for it, value is None until it is there."""

    def __init__(self, function, *arguments, **more):
        super().__init__(daemon=True)
        self.work, self.value = (lambda: function(*arguments, **more)), None
        self.start()

    def run(self):
        self.value = self.work()

    def answer(self, seconds=130):
        self.join(seconds)
        return self.value


class Volume:
    """An inline volume of a pod, as kubelet would ask for it."""

    def __init__(self, kubelet_dir, pod, storage_class, inputs, **attributes):
        uid = hashlib.sha256(pod.encode()).hexdigest()
        self.id = "csi-" + hashlib.sha256(f"{uid}inputs".encode()).hexdigest()
        self.target = f"{kubelet_dir}/pods/{uid[:32]}/volumes/kubernetes.io~csi/inputs/mount"
        self.context = {
            "csi.storage.k8s.io/ephemeral": "true",
            "csi.storage.k8s.io/pod.name": pod,
            "csi.storage.k8s.io/pod.namespace": "default",
            "csi.storage.k8s.io/pod.uid": uid[:32],
            "csi.storage.k8s.io/serviceAccount.name": "default",
            "storageClass": storage_class,
            "inputs": inputs,
            **attributes,
        }
        self.staging = ""

    def persistent(self, kubelet_dir, name):
        """The same volume, but by a claim: kubelet stages it first."""
        self.id = name
        self.staging = f"{kubelet_dir}/plugins/kubernetes.io/csi/{name}/globalmount"
        self.context["csi.storage.k8s.io/ephemeral"] = "false"
        return self
