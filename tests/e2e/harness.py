"""What the cases stand on: the cluster, the servers that pods download from, namespaces and pods, and what people see of them."""

import hashlib
import itertools
import json
import os
import pathlib
import re
import subprocess
import threading
import time

import image
import node
from api import Api
from processes import need_program, wait_until

WORK = pathlib.Path(os.environ["SC_WORK"])
ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVER = "csi.sharedcache.io"
BUSYBOX = f"{image.REGISTRY}/busybox:1"
KUBELET = pathlib.Path("/var/lib/kubelet")
PLUGIN = KUBELET / "plugins" / DRIVER
POD_SECONDS = 120  # in which a small pod runs: the machine may have two processors, and other pods start, too
TESTS = []


def test(name, phase="together"):
    """phase: together (with the others), alone (it disturbs them), last (in the order of their definition, at the end)."""
    def register(function):
        TESTS.append((name, function, phase))
        return function
    return register


def need(condition, text="condition"):
    if not condition:
        raise AssertionError(text() if callable(text) else str(text))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def noise(name, size):
    """Bytes that are the same in each run and compress to nothing."""
    return hashlib.shake_128(name.encode()).digest(size)


def mounts(below=KUBELET, kind=None):
    """[(target, file system)] at or below a path."""
    found = []
    for line in open("/proc/self/mountinfo"):
        fields = line.split(" ")
        target, file_system = fields[4], fields[fields.index("-") + 1]
        if (target == str(below) or target.startswith(f"{below}/")) and kind in (None, file_system):
            found.append((target, file_system))
    return found


def plugin_processes(command=None):
    """[(pid, subcommand)] of all that runs the program in this process namespace."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"/sharedcache") and len(words) > 1 and (command is None or words[1].decode() == command):
            found.append((int(entry.name), words[1].decode()))
    return found


class Case:
    """One test's namespace, and what it makes there."""
    numbers = itertools.count(1)

    def __init__(self, world, name):
        self.world, self.api = world, world.api
        self.namespace = re.sub(r"[^a-z0-9]+", "-", name)[:40].strip("-") + f"-{next(self.numbers)}"
        self.api.create({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": self.namespace}})
        wait_until(lambda: self.api.get("ServiceAccount", "default", self.namespace), 30, f"{self.namespace}: the service account")

    def create(self, kind, name, body=None, api_version="v1", **fields):
        metadata = {"name": name, **fields.pop("metadata", {})}
        if kind != "PersistentVolume":
            metadata["namespace"] = self.namespace
        return self.api.create({"kind": kind, "apiVersion": api_version, "metadata": metadata, **(body or {}), **fields})

    def pod_spec(self, script, volume, **more):
        container = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script],
                     "volumeMounts": [{"name": "inputs", "mountPath": "/inputs"}]}
        return {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container],
                "volumes": [{"name": "inputs", **volume}], **more}

    def pod(self, name, script, volume, **more):
        return self.create("Pod", name, spec=self.pod_spec(script, volume, **more))

    def inline(self, inputs, storage_class="direct", secret=None, **attributes):
        volume = {"driver": DRIVER, "readOnly": True, "volumeAttributes": {"storageClass": storage_class, "inputs": inputs, **attributes}}
        if secret:
            volume["nodePublishSecretRef"] = {"name": secret}
        return {"csi": volume}

    def phase(self, name):
        found = self.api.get("Pod", name, self.namespace)
        return found["status"].get("phase") if found else None

    def wait_phase(self, name, *phases, seconds=POD_SECONDS):
        try:
            return wait_until(lambda: self.phase(name) in phases, seconds, f"pod {name} is {'/'.join(phases)}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; it is {self.phase(name)}; events: {self.messages(name)[-3:]}") from None

    def run(self, name, script, volume, seconds=POD_SECONDS, **more):
        """The output of a pod that must succeed."""
        self.pod(name, script, volume, **more)
        self.wait_phase(name, "Succeeded", "Failed", seconds=seconds)
        output = self.logs(name)
        need(self.phase(name) == "Succeeded", f"pod {name} failed: {output[-500:]}")
        return output

    def start(self, name, script, volume, seconds=POD_SECONDS, **more):
        self.pod(name, script, volume, **more)
        self.wait_phase(name, "Running", seconds=seconds)

    def logs(self, name):
        return self.api.logs(self.namespace, name)

    def events(self, name=None):
        found = self.api.list("Event", self.namespace)
        return [each for each in found if name in (None, each["involvedObject"].get("name"))]

    def messages(self, name=None):
        return [f"{each['reason']}: {each.get('message', '')}" for each in self.events(name)]

    def wait_message(self, name, pattern, seconds=POD_SECONDS):
        """The first event of the pod that matches."""
        def found():
            return next((text for text in self.messages(name) if re.search(pattern, text)), None)
        try:
            return wait_until(found, seconds, f"an event of {name} like {pattern}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; there are {self.messages(name)}") from None

    def uid(self, name):
        return self.api.get("Pod", name, self.namespace)["metadata"]["uid"]

    def delete_pod(self, name, seconds=60):
        """Gone from the API and from the node: no mount, no directory."""
        uid = self.uid(name)
        self.api.delete("Pod", name, self.namespace)
        wait_until(lambda: self.api.get("Pod", name, self.namespace) is None, 60, f"pod {name} is deleted")
        wait_until(lambda: not (KUBELET / "pods" / uid).exists(), seconds, f"the directory of pod {name} goes")
        need(not mounts(KUBELET / "pods" / uid), lambda: f"mounts of a pod that is gone: {mounts(KUBELET / 'pods' / uid)}")

    def delete(self, seconds=90):
        self.api.delete("Namespace", self.namespace)
        wait_until(lambda: self.api.get("Namespace", self.namespace) is None, seconds, lambda: f"namespace {self.namespace} is deleted; "
                   f"pods left: {[each['metadata']['name'] for each in self.api.list('Pod', self.namespace)]}")


class Reader:
    """A pod that reads its input over and over, compares it each time, and says how often; it ends at the first difference."""
    SCRIPT = """n=0; while :; do s=$(sha256sum </inputs/{name}) || exit 7; [ "$s" = "{sum}  -" ] || exit 8; n=$((n+1)); echo $n; sleep 0.2; done"""

    def __init__(self, case, name, url, data, **more):
        self.case, self.name = case, name
        script = self.SCRIPT.replace("{name}", url.rsplit("/", 1)[1]).replace("{sum}", sha256(data))
        case.start(name, script, case.inline(url, **more))

    def count(self):
        lines = self.case.logs(self.name).split()
        return int(lines[-1]) if lines else 0

    def must_go_on(self, seconds=30):
        """Still the first container, and it reads."""
        before = self.count()
        wait_until(lambda: self.count() > before + 2 or self.case.phase(self.name) != "Running", seconds, f"{self.name} reads on")
        found = self.case.api.get("Pod", self.name, self.case.namespace)
        statuses = found["status"].get("containerStatuses") or [{}]
        need(found["status"]["phase"] == "Running" and statuses[0].get("restartCount") == 0, lambda: f"{self.name}: {statuses}")


def log(text):
    print(text, flush=True)


PRINT_LOCK = threading.Lock()


def report(name, complaint, seconds):
    with PRINT_LOCK:
        log(f"ok e2e/{name}" if complaint is None else f"not ok e2e/{name}: {complaint}")
        if seconds > 30:
            log(f"# {name} took {seconds:.0f} s")


def helm(world, *arguments, seconds=180):
    environment = dict(os.environ, KUBECONFIG=world.cluster.plane.kubeconfig, HELM_CACHE_HOME=str(WORK / "helm"),
                       HELM_CONFIG_HOME=str(WORK / "helm"), HELM_DATA_HOME=str(WORK / "helm"))
    done = subprocess.run([need_program("helm"), *arguments], capture_output=True, text=True, timeout=seconds, env=environment, check=False)
    need(done.returncode == 0, f"helm {arguments[0]}: {done.stderr.strip()[-1500:]} {done.stdout[-300:]}")
    return done.stdout


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path


def since(started):
    return time.monotonic() - started


def api_of(plane):
    return Api(plane)


NODE = node.NAME
