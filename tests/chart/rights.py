"""The chart's rights, and the programs that run with them: real ones, against a real API server, with their own service account's token."""

import copy
import json
import pathlib
import shutil

import yaml

from harness import BINARY, NAMESPACE, WORK, find, need, render, run
from processes import Program, free_port, wait_until

DRIVER = "csi.sharedcache.io"
NODE = "rights-node"
CLASS = "rights"
# In a mount namespace of our own this is an empty file system: the DaemonSet's paths are used as they are.
KUBELET = pathlib.Path("/mnt/kubelet")
VALUES = {
    "kubeletDir": str(KUBELET),
    "node": {"startupTaint": {"enabled": True}},
    "csiDriver": {"tokenRequests": [{"audience": "sts.amazonaws.com"}]},
    "storageClasses": [{"name": CLASS, "parameters": {"allowedAddresses": "127.0.0.0/8"}}],
}


def rendered():
    path = WORK / "rights.values.yaml"
    path.write_text(json.dumps(VALUES))
    return render(path)


def pairs(role):
    """(group, resource, verb) of every right."""
    return [(group, resource, verb) for rule in role["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
            for verb in rule["verbs"]]


def without(role, right):
    """The role less one right."""
    less = copy.deepcopy(role)
    rules = []
    for rule in less["rules"]:
        for resource in rule["resources"]:
            verbs = [verb for verb in rule["verbs"] if (rule["apiGroups"][0], resource, verb) != right]
            if verbs:
                rules.append({**rule, "resources": [resource], "verbs": verbs})
    less["rules"] = rules
    return less


def text_of(right):
    return f"{right[2]}-{right[1]}"


class Rights:
    """The chart's accounts, roles, classes and driver object in the API server; roles change and come back."""

    def __init__(self, plane):
        self.plane = plane
        self.objects = rendered()
        kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "CSIDriver", "StorageClass",
                 "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
        self.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}])
        self.apply([item for item in self.objects if item["kind"] in kinds])

    def apply(self, objects):
        self.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=yaml.safe_dump_all(objects))

    def role(self, component, kind="ClusterRole"):
        return find(self.objects, kind, f"sharedcache-csi-{component}")

    def give(self, component, role, right, allowed):
        """Applies a role; back when the server judges by it."""
        self.apply([role])
        wait_until(lambda: self.granted(component, right) == allowed, 20, f"{right} is {'granted' if allowed else 'taken away'}")

    def granted(self, component, right):
        """As the authorizer sees it."""
        group, resource, verb = right
        attributes = {"group": group, "resource": resource, "verb": verb, "namespace": NAMESPACE if resource == "leases" else "",
                      "name": DRIVER if resource == "csidrivers" else ""}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": f"system:serviceaccount:{NAMESPACE}:sharedcache-csi-{component}", "resourceAttributes": attributes}}
        done = self.plane.kubectl("create", "-f", "-", "-o", "json", text=json.dumps(review))
        return json.loads(done)["status"]["allowed"]

    def token(self, component):
        """The node plugin's says on which node it is, as a pod's token does."""
        path = WORK / f"{component}.token"
        uid = self.plane.kubectl("get", "node", NODE, "-o", "jsonpath={.metadata.uid}")
        bound = ["--bound-object-kind=Node", f"--bound-object-name={NODE}", f"--bound-object-uid={uid}"] if component == "node" else []
        path.write_text(self.plane.kubectl("create", "token", f"sharedcache-csi-{component}", "--namespace", NAMESPACE, *bound).strip())
        return path

    def ca(self):
        return self.plane.pki.path("ca.crt")

    def kubeconfig(self, component):
        """For programs of client-go."""
        path = WORK / f"{component}.conf"
        ca, token = pathlib.Path(self.ca()), self.token(component).read_text()
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": self.plane.server, "certificate-authority": str(ca)}}],
            "users": [{"name": "x", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]}))
        return path


class Node:
    """The node plugin with the arguments of the DaemonSet, and none of its state left from before."""

    def __init__(self, rights, name):
        self.rights = rights
        shutil.rmtree(KUBELET, ignore_errors=True)
        for directory in ("plugins_registry", "pods"):
            (KUBELET / directory).mkdir(parents=True)
        container = find(rights.objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
        arguments = [*container["args"], f"--http-endpoint=127.0.0.1:{free_port()}", f"--kube-url={rights.plane.server}",
                     f"--kube-token-file={rights.token('node')}", f"--kube-ca-file={rights.ca()}"]
        self.socket = next(argument for argument in arguments if argument.startswith("--endpoint="))
        self.program = Program(name, [BINARY, *arguments], WORK, {"NODE_ID": NODE})

    def start(self):
        before = self.log().count("event=serving")
        self.program.start()
        wait_until(lambda: self.log().count("event=serving") > before, 20, lambda: f"the plugin serves: {self.log()}", [self.program])
        return self

    def stop(self):
        self.program.stop()

    def log(self):
        return self.program.log.read_text() if self.program.log.exists() else ""

    def tokens(self):
        """What kubelet brings with a volume, for the driver's tokenRequests; a file with it."""
        path = WORK / "pod.tokens"
        token = self.rights.plane.kubectl("create", "token", "default", "--namespace", NAMESPACE, "--audience", "sts.amazonaws.com").strip()
        path.write_text(json.dumps({"sts.amazonaws.com": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}}))
        return f"--secret=csi.storage.k8s.io/serviceAccount.tokens=@{path}"

    def publish(self, url, *more, pod="rights-pod"):
        """As kubelet does for an inline volume; the finished process of the client."""
        target = KUBELET / "pods" / pod / "volumes/kubernetes.io~csi/inputs/mount"
        target.parent.mkdir(parents=True, exist_ok=True)
        volume = "csi-" + ("0" * 64 + pod.encode().hex())[-64:]
        uid = "01234567-89ab-cdef-0123-" + ("0" * 12 + pod.encode().hex())[-12:]
        common = [f"--volume-id={volume}", f"--target-path={target}"]
        done = run(BINARY, "csi", self.socket, "NodePublishVolume", *common, "--ephemeral", f"--pod-namespace={NAMESPACE}",
                   f"--pod-name={pod}", f"--pod-uid={uid}", "--service-account=default", f"--attribute=storageClass={CLASS}",
                   f"--attribute=inputs={url}", "--timeout=30s", *more, check=False)
        data = target / url.rsplit("/", 1)[1]
        content = data.read_bytes() if done.returncode == 0 and data.exists() else None
        run(BINARY, "csi", self.socket, "NodeUnpublishVolume", *common)
        return done, content


def need_pairs(role, operations):
    """Every right has an operation that needs it, and there is no operation for a right that is not given."""
    need(set(pairs(role)) == set(operations), f"rights and operations differ in {sorted(set(pairs(role)) ^ set(operations))}")
