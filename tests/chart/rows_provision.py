"""The controller and external-provisioner under the chart's rights: a claim gets its volume and loses it, and each right is needed."""

import contextlib
import functools
import json
import pathlib
import shutil

from harness import BINARY, NAMESPACE, WORK, find, need, test
import rights
from processes import Program, free_port, need_program, wait_until
from rows_rights import world

RUN = pathlib.Path("/mnt/controller")
AS_USER = ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
LEASE = "csi-sharedcache-io"
INPUTS = "https://data.example.com/vocab.txt -> text/words.txt"


@functools.cache
def cluster(plane):
    granted, _ = world(plane)
    plane.start_controllers()
    return granted


class Pair:
    """Both containers of the Deployment, as its user, with its arguments; its directory is moved."""

    def __init__(self, granted, name, server=None):
        """server: where our controller looks for the API."""
        shutil.rmtree(RUN, ignore_errors=True)
        RUN.mkdir()
        RUN.chmod(0o777)
        controller, provisioner = find(granted.objects, "Deployment")["spec"]["template"]["spec"]["containers"]
        config = granted.kubeconfig("controller")
        self.programs = [
            Program(f"{name}-controller", [*AS_USER, BINARY, *moved(controller["args"]), f"--kube-url={server or granted.plane.server}",
                                           f"--kube-token-file={WORK / 'controller.token'}", f"--kube-ca-file={granted.ca()}",
                                           f"--http-endpoint=127.0.0.1:{free_port()}"], WORK),
            Program(f"{name}-provisioner", [*AS_USER, need_program("csi-provisioner"), *moved(provisioner["args"]),
                                            f"--kubeconfig={config}", f"--http-endpoint=127.0.0.1:{free_port()}"], WORK)]

    def log(self):
        """Without the quotes that the provisioner escapes."""
        return "".join(program.log.read_text(errors="replace") for program in self.programs if program.log.exists()).replace('\\"', '"')

    def start(self):
        for program in self.programs:
            program.start()
        return self

    def stop(self):
        for program in reversed(self.programs):
            program.stop()


def moved(arguments):
    return [argument.replace("/run/sharedcache", str(RUN)).replace("$(POD_NAMESPACE)", NAMESPACE) for argument in arguments
            if not argument.startswith("--http-endpoint")]


def claim(name, annotations=None):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations or {"csi.sharedcache.io/inputs": INPUTS}},
            "spec": {"accessModes": ["ReadOnlyMany"], "storageClassName": rights.CLASS, "resources": {"requests": {"storage": "1Gi"}}}}


def volumes(plane, name):
    """Persistent volumes of the claim, whatever has become of it."""
    found = json.loads(plane.kubectl("get", "persistentvolumes", "-o", "json"))["items"]
    return [item for item in found if item["spec"].get("claimRef", {}).get("name") == name]


def events(plane, name):
    found = json.loads(plane.kubectl("get", "events", "--namespace", NAMESPACE, "-o", "json"))["items"]
    return {event["reason"] for event in found if event["involvedObject"]["name"] == name and event["source"].get("component", "").startswith(rights.DRIVER)}


@contextlib.contextmanager
def running(plane, name, missing=None, server=None):
    granted = cluster(plane)
    kind = "Role" if missing and missing[1] == "leases" else "ClusterRole"
    role = granted.role("controller", kind)
    plane.kubectl("delete", "lease", LEASE, "--namespace", NAMESPACE, "--ignore-not-found")
    if missing:
        granted.give("controller", rights.without(role, missing), missing, False)
    pair = Pair(granted, name, server)
    try:
        yield pair.start()
    finally:
        pair.stop()
        if missing:
            granted.give("controller", role, missing, True)
        plane.kubectl("delete", "persistentvolumeclaims", "--all", "--namespace", NAMESPACE, "--wait=false")
        for volume in json.loads(plane.kubectl("get", "persistentvolumes", "-o", "json"))["items"]:
            plane.kubectl("patch", "pv", volume["metadata"]["name"], "--type=merge", "--patch", '{"metadata": {"finalizers": null}}', check=False)
            plane.kubectl("delete", "pv", volume["metadata"]["name"], "--ignore-not-found", "--wait=false")


@test("controller-rights-are-enough")
def enough(plane):
    with running(plane, "all") as pair:
        plane.kubectl("apply", "-f", "-", text=json.dumps(claim("dataset")))
        wait_until(lambda: volumes(plane, "dataset"), 60, lambda: f"a volume for the claim:\n{pair.log()}", pair.programs)
        source = volumes(plane, "dataset")[0]["spec"]["csi"]
        need(source["driver"] == rights.DRIVER and "vocab.txt" in json.dumps(source["volumeAttributes"]), source)
        wait_until(lambda: {"Provisioning", "ProvisioningSucceeded"} <= events(plane, "dataset"), 20, lambda: f"events on the claim: {events(plane, 'dataset')}")
        plane.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/dataset", "--namespace", NAMESPACE, "--timeout=30s")
        plane.kubectl("delete", "pvc", "dataset", "--namespace", NAMESPACE)
        wait_until(lambda: not volumes(plane, "dataset"), 60, lambda: f"the volume goes with its claim:\n{pair.log()}", pair.programs)
        need("forbidden" not in pair.log(), pair.log())
        return "made, bound and deleted"


@test("controller-says-what-a-claim-lacks")
def lacks(plane):
    with running(plane, "lacking") as pair:
        plane.kubectl("apply", "-f", "-", text=json.dumps(claim("lacking", {"example.com/x": "y"})))
        wait_until(lambda: "ProvisioningFailed" in events(plane, "lacking"), 60, lambda: f"an event:\n{pair.log()}", pair.programs)
        need("csi.sharedcache.io/inputs" in plane.kubectl("describe", "pvc", "lacking", "--namespace", NAMESPACE), "the event does not name the annotation")


@test("controller-may-not")
def may_not(plane):
    granted = cluster(plane)
    for right in (("", "secrets", "get"), ("", "pods", "list"), ("", "persistentvolumeclaims", "update"), ("", "persistentvolumeclaims", "delete"),
                  ("", "nodes", "list"), ("storage.k8s.io", "csinodes", "list"), ("storage.k8s.io", "volumeattachments", "list"),
                  ("storage.k8s.io", "storageclasses", "create"), ("coordination.k8s.io", "leases", "delete"), ("", "events", "list")):
        need(not granted.granted("controller", right), f"the controller may {right[2]} {right[1]}")


def refused(pair, right):
    """The API server's own word for it, in one of the two logs."""
    return f'cannot {right[2]} resource "{right[1]}"' in pair.log()


def register(right, until):
    """until: how far it gets without the right. "anywhere": who may list but not watch finds things out late. "retried": the controller cannot ask the API, so that the same event comes again and again."""
    @test(f"controller-needs-{rights.text_of(right)}")
    def needs(plane):
        name = f"less-{rights.text_of(right)}"
        nowhere = f"https://127.0.0.1:{free_port()}" if until == "retried" else None
        with running(plane, name, right, nowhere) as pair:
            plane.kubectl("apply", "-f", "-", text=json.dumps(claim(name)))
            if until in ("made", "deleted"):
                wait_until(lambda: volumes(plane, name), 60, lambda: f"a volume for the claim:\n{pair.log()}")
            if until == "deleted":
                plane.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", f"pvc/{name}", "--namespace", NAMESPACE, "--timeout=30s")
                plane.kubectl("delete", "pvc", name, "--namespace", NAMESPACE)
            wait_until(lambda: refused(pair, right), 60, lambda: f"somebody is refused {right}:\n{pair.log()}")
            made = bool(volumes(plane, name))
            need(until == "anywhere" or made == (until in ("made", "deleted")), f"it was to get to '{until}', and there is {'a' if made else 'no'} volume")


CORE, STORAGE, COORDINATION = "", "storage.k8s.io", "coordination.k8s.io"
RIGHTS = {
    (CORE, "persistentvolumeclaims", "get"): "nothing",
    (CORE, "persistentvolumeclaims", "list"): "nothing",
    (CORE, "persistentvolumeclaims", "watch"): "anywhere",
    (CORE, "persistentvolumes", "list"): "nothing",
    (CORE, "persistentvolumes", "watch"): "anywhere",
    (CORE, "persistentvolumes", "create"): "nothing",
    (CORE, "persistentvolumes", "patch"): "deleted",
    (CORE, "persistentvolumes", "delete"): "deleted",
    (STORAGE, "storageclasses", "list"): "nothing",
    (STORAGE, "storageclasses", "watch"): "anywhere",
    (CORE, "events", "create"): "made",
    (CORE, "events", "patch"): "retried",
    (COORDINATION, "leases", "get"): "nothing",
    (COORDINATION, "leases", "create"): "nothing",
    (COORDINATION, "leases", "update"): "made",
}

for pair_of, point in RIGHTS.items():
    register(pair_of, point)


@test("controller-rights-are-no-more-than-tried")
def listed(plane):
    granted = cluster(plane)
    given = rights.pairs(granted.role("controller")) + rights.pairs(granted.role("controller", "Role"))
    need(set(given) == set(RIGHTS), f"rights and tests differ in {sorted(set(given) ^ set(RIGHTS))}")
