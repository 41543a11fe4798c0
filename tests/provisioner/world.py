"""A cluster without nodes: the API, the controllers of Kubernetes, the external-provisioner, and our controller, which reaches the API over
a wire that can be cut."""

import json
import os
import pathlib
import select
import shutil
import socket
import threading

from control_plane import ControlPlane
from processes import Program, free_port, wait_until

WORK = pathlib.Path(os.environ["SC_WORK"])
DRIVER = "csi.sharedcache.io"
INPUTS, FROM = "csi.sharedcache.io/inputs", "csi.sharedcache.io/inputs-from"
UID = 65532
AS_NOBODY = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]


class Wire:
    """A port that leads to another one until it is cut; connections that are open end then."""

    def __init__(self, port):
        self.target, self.is_cut, self.refused = port, False, 0
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            if self.is_cut:
                self.refused += 1
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.target))
            self.open |= {near, far}
            threading.Thread(target=self.carry, args=(near, far), daemon=True).start()

    def carry(self, near, far):
        ends = {near: far, far: near}
        try:
            while True:
                for end in select.select(ends, [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)
        except OSError:
            pass
        finally:
            self.open -= {near, far}
            near.close()
            far.close()

    def cut(self):
        self.is_cut = True
        for end in list(self.open):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def mend(self):
        self.is_cut = False


class World:
    def __init__(self):
        self.plane = ControlPlane(WORK / "plane")
        self.programs = []

    def __enter__(self):
        self.plane.start()
        self.plane.start_controllers()
        self.wire = Wire(self.plane.port)
        self.make_account()
        self.directory = WORK / "c"
        self.directory.mkdir()
        os.chown(self.directory, UID, UID)
        ca = WORK / "ca.crt"
        shutil.copy(self.plane.pki.path("ca.crt"), ca)
        self.controller = Program("controller", [*AS_NOBODY, WORK / "sharedcache", "controller", f"--endpoint=unix://{self.directory}/s/csi.sock",
                                                 f"--state-dir={self.directory}/state", f"--kube-url=https://127.0.0.1:{self.wire.port}",
                                                 f"--kube-token-file={WORK}/token", f"--kube-ca-file={ca}"], WORK).start()
        self.provisioner = Program("csi-provisioner", [
            "csi-provisioner", f"--csi-address={self.directory}/s/csi.sock", "--extra-create-metadata", f"--kubeconfig={self.plane.kubeconfig}",
            "--timeout=15s", "--retry-interval-max=2s", f"--http-endpoint=127.0.0.1:{free_port()}", "--v=5"], WORK).start()
        self.programs = [self.controller, self.provisioner]
        return self

    def __exit__(self, *_):
        for program in reversed(self.programs):
            program.stop()
        self.plane.stop()

    def make_account(self):
        """All that our own process may do: read claims."""
        kubectl = self.plane.kubectl
        kubectl("create", "namespace", "team-a")
        wait_until(lambda: kubectl("get", "serviceaccount", "default", "-n", "team-a", check=False).returncode == 0, 30, "a service account")
        kubectl("create", "serviceaccount", "controller", "-n", "kube-system")
        kubectl("create", "clusterrole", "controller", "--verb=get", "--resource=persistentvolumeclaims")
        kubectl("create", "clusterrolebinding", "controller", "--clusterrole=controller", "--serviceaccount=kube-system:controller")
        (WORK / "token").write_text(kubectl("create", "token", "controller", "-n", "kube-system", "--duration=1h"))

    def replace_pod(self):
        """Of the controller and its provisioner: nothing is left of what they knew. (The provisioner ends with the connection.)"""
        self.provisioner.stop()
        self.controller.stop()
        shutil.rmtree(self.directory / "state")
        self.controller.start()
        self.provisioner.start()

    def apply(self, *objects):
        self.plane.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, *what):
        return json.loads(self.plane.kubectl("get", *what, "-o", "json"))

    def storage_class(self, name, **parameters):
        self.apply({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}, "provisioner": DRIVER,
                    "parameters": parameters, "volumeBindingMode": "Immediate"})

    def claim(self, name, storage_class, annotations):
        self.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "metadata": {"name": name, "namespace": "team-a", "annotations": annotations}, "spec": claim_spec(storage_class)})

    def annotate(self, name, annotations):
        self.plane.kubectl("annotate", "pvc", name, "-n", "team-a", "--overwrite", *(f"{key}={value}" for key, value in annotations.items()))

    def delete(self, name):
        self.plane.kubectl("delete", "pvc", name, "-n", "team-a", "--timeout=30s")

    def volumes(self, name):
        return [item for item in self.get("pv")["items"] if item["spec"].get("claimRef", {}).get("name") == name]

    def context(self, name):
        """The volume context of the claim's PersistentVolume, once it is bound."""
        self.wait(lambda: self.get("pvc", name, "-n", "team-a").get("status", {}).get("phase") == "Bound", f"claim {name} is bound")
        volume, = self.volumes(name)
        attributes = dict(volume["spec"]["csi"]["volumeAttributes"])
        attributes.pop("storage.kubernetes.io/csiProvisionerIdentity")
        return attributes

    def says(self, name, *words, seconds=30):
        """Waits for an event on the claim that holds all the words; what kubectl describe shows."""
        def found():
            events = self.get("events", "-n", "team-a")["items"]
            return [event for event in events if event["involvedObject"]["name"] == name and event["reason"] == "ProvisioningFailed"
                    and all(word in event["message"] for word in words)]
        return self.wait(found, f"an event on {name} with {words}", seconds)[0]["message"]

    def wait(self, condition, what, seconds=30):
        return wait_until(condition, seconds, lambda: f"{what}; the controller: {self.controller.tail(3)}", self.programs)


def claim_spec(storage_class):
    return {"accessModes": ["ReadOnlyMany"], "storageClassName": storage_class, "resources": {"requests": {"storage": "1Gi"}}}
