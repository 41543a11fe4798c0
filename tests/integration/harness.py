"""What the integration tests stand on: the program started as the DaemonSet and the Deployment would, clients that do what
kubelet and the provisioner do, and a list of tests."""

import contextlib
import faulthandler
import hashlib
import importlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

import csi_pb2
import grpc

# tests/supervised asks for it when a suite hangs.
faulthandler.register(signal.SIGQUIT, all_threads=True)

Code = grpc.StatusCode
BINARY = os.environ["SC_BINARY"]
WORK = pathlib.Path(os.environ["SC_WORK"])
DRIVER = "csi.sharedcache.io"
NON_FINAL = (Code.ABORTED, Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED)
MODE = csi_pb2.VolumeCapability.AccessMode
# Tests change what a source has and publish again at once: answers of before must not count.
LOOPBACK = {"allowedAddresses": "127.0.0.0/8", "answerTTL": "0s"}
SERVICES = {"GetPluginInfo": "Identity", "GetPluginCapabilities": "Identity", "Probe": "Identity", "CreateVolume": "Controller",
            "DeleteVolume": "Controller", "ValidateVolumeCapabilities": "Controller", "ControllerGetCapabilities": "Controller"}

# Channels share nothing: one that met no socket yet would make the others wait for seconds, too.
OWN = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]

TESTS = []
# The test that runs in a thread, and what the plugins answered to it: (test, code's name, message), oldest first.
CURRENT = threading.local()
ERRORS = []


def test(name, exclusive=False, slow=False, patient=False):
    """Registers a test. exclusive: alone, after the others; slow: waits long, so it is started first; patient: waits for minutes,
    so it is left out under sanitizers, where it would show nothing new."""
    def register(function):
        if not (patient and "san" in os.environ.get("SC_PRESET", "")):
            TESTS.append((name, function, exclusive, slow))
        return function
    return register


def need(condition, text="condition"):
    if not condition:
        raise AssertionError(text() if callable(text) else str(text))


def expect(code, call, *words, absent=()):
    """The call must fail with this code (or one of these); the message holds each word and none of the absent ones."""
    codes = code if isinstance(code, tuple) else (code,)
    try:
        reply = call()
    except grpc.RpcError as error:
        text = f"{error.code().name}: {error.details()}"
        need(error.code() in codes, f"expected {'/'.join(c.name for c in codes)}, got {text}")
        for word in words:
            need(re.search(word, error.details()), f"no '{word}' in {text}")
        for word in absent:
            need(word not in error.details(), f"'{word}' in {text}")
        return error.details()
    raise AssertionError(f"expected {'/'.join(c.name for c in codes)}, got OK {reply}")


def mounts(below):
    """[(mount id, target, fs type, options)] at or below a path."""
    found = []
    for line in open("/proc/self/mountinfo"):
        fields = line.split(" ")
        target = re.sub(r"\\(\d{3})", lambda match: chr(int(match.group(1), 8)), fields[4])
        if target == str(below) or target.startswith(f"{below}/"):
            found.append((int(fields[0]), target, fields[fields.index("-") + 1], fields[5]))
    return found


def wait_until(condition, seconds, what):
    """Polls something that has no event to wait for; the time is a limit, not a wait."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")


def process_stat(pid):
    """Fields of its /proc/PID/stat from the state letter on; None once it is gone, before the file is opened or after."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rsplit(")", 1)[1].split()


def process_ended(pid):
    """It is gone, or nobody has waited for it yet."""
    stat = process_stat(pid)
    return stat is None or stat[0] in "ZX"


def capability(mode=MODE.SINGLE_NODE_WRITER, mount=True):
    message = csi_pb2.VolumeCapability()
    message.access_mode.mode = mode
    if mount:
        message.mount.SetInParent()
    return message


def digest_file(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            sha.update(block)
    return sha.hexdigest()


class Plugin:
    """A long-running subcommand of the program and a client of it. One has directories of its own."""
    numbers = itertools.count(1)
    everyone = []

    def __init__(self, name):
        self.dir = WORK / f"{name[:14]}-{next(self.numbers)}"  # sockets lie below it, whose paths have 107 bytes
        self.socket = self.dir / "run" / "csi.sock"
        self.socket.parent.mkdir(mode=0o700, parents=True)
        self.log_path = self.dir / "plugin.log"
        self.process = self.channel = None
        self.command = []
        Plugin.everyone.append(self)

    def start(self, environment=None):
        log = open(self.log_path, "ab")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}  # tests may run in a pod
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        env={**inherited, **(environment or {})}, start_new_session=True)
        log.close()
        self.channel = self.connect()
        wait_until(self.is_ready, 20, f"the plugin is ready: {self.log()[-2000:]}")
        return self

    def connect(self, *options):
        return grpc.insecure_channel(f"unix:{self.socket}", options=[*OWN, *options])

    def is_ready(self):
        need(self.process.poll() is None, lambda: f"the plugin ended with {self.process.returncode}: {self.log()[-2000:]}")
        try:
            reply = self.call("Probe", csi_pb2.ProbeRequest(), timeout=2)
        except grpc.RpcError:
            self.channel.close()
            self.channel = self.connect()
            return False
        return not reply.HasField("ready") or reply.ready.value

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def kill(self):
        """SIGKILL to the plugin alone: its fetcher must end by itself."""
        self.process.kill()
        self.process.wait(30)
        self.channel.close()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)
                raise AssertionError("SIGTERM did not end the plugin in 30 s") from None
        if self.channel:
            self.channel.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def call(self, method, request, timeout=30, channel=None, **options):
        service = SERVICES.get(method, "Node")
        reply = getattr(csi_pb2, f"{method}Response", None)
        stub = (channel or self.channel).unary_unary(
            f"/csi.v1.{service}/{method}", request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
            response_deserializer=reply.FromString if reply else None)
        try:
            return stub(request, timeout=timeout, **options)
        except grpc.RpcError as error:
            if method != "Probe":
                ERRORS.append((getattr(CURRENT, "test", ""), error.code().name, error.details() or ""))
            raise


class Node(Plugin):
    """The node plugin."""

    def __init__(self, name, classes=None, args=(), pod_info=True, state_dir=None, wrap=(), kube=None):
        """kube: a servers/kube_api.KubeApi that has the classes, instead of a directory; there is no default class then."""
        super().__init__(name)
        self.kubelet, self.classes, self.secrets = self.dir / "kubelet", self.dir / "classes", self.dir / "secrets"
        self.state = pathlib.Path(state_dir or self.dir / "state")
        for directory in (self.kubelet / "pods", self.classes, self.secrets, self.state):
            directory.mkdir(parents=True)
        for class_name, parameters in (classes or {"test": LOOPBACK}).items():
            self.add_class(class_name, parameters)
        self.command = [*wrap, BINARY, "node", "--endpoint", f"unix://{self.socket}", "--node-id", name, "--state-dir",
                        str(self.state), "--kubelet-dir", str(self.kubelet), "--secrets-dir", str(self.secrets)]
        self.command += kube.flags if kube else ["--class-dir", str(self.classes), "--default-class", next(iter(classes or {"test": 0}))]
        self.command += args
        if not pod_info:
            self.command.append("--no-pod-info")

    def add_class(self, name, parameters, mount_options=()):
        document = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}, "provisioner": DRIVER,
                    "parameters": parameters, "mountOptions": list(mount_options)}
        (self.classes / f"{name}.json").write_text(json.dumps(document))

    def __exit__(self, *_):
        for _, target, *_ in reversed(mounts(self.kubelet)):
            subprocess.run(["umount", "-l", target], check=False, timeout=60)
        super().__exit__()

    def children(self):
        """{subcommand: pid} of the plugin's own processes; the last one of each kind."""
        return {name: pid for name, pid in self.all_children()}

    def all_children(self):
        """Found by their parent: what /proc/PID/task/TID/children says is unsure while threads and children come and go."""
        found = []
        for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
            stat = process_stat(pid)
            if stat is not None and int(stat[1]) == self.process.pid:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
                    found.append((pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1].decode(), pid))
        return found

    def pod(self, name):
        return Pod(self, name)


class Controller(Plugin):
    """The controller plugin, as a user without any capability. Not in Kubernetes, unless the arguments or the environment say so."""
    UID = 65532
    AS_NOBODY = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--no-new-privs", "--inh-caps=-all",
                 "--bounding-set=-all"]

    def __init__(self, name, args=()):
        super().__init__(name)
        self.state = self.dir / "state"
        for directory in (self.dir, self.socket.parent):
            os.chown(directory, self.UID, self.UID)
        self.command = [*self.AS_NOBODY, self.binary(), "controller", "--endpoint", f"unix://{self.socket}", "--state-dir",
                        str(self.state), *args]

    @staticmethod
    def binary():
        """A copy of the program where this user may read it: the tree may lie in somebody's home."""
        copy = WORK / "sharedcache"
        if not copy.exists():
            shutil.copy(BINARY, WORK / "sharedcache.new")
            os.rename(WORK / "sharedcache.new", copy)
        return str(copy)


class Pod:
    """One inline volume of one pod, as kubelet makes it: the parent of the target exists, the target does not."""
    numbers = itertools.count(1)

    def __init__(self, node, name):
        self.node = node
        self.name = f"{name}-{next(self.numbers)}"
        self.uid = hashlib.md5(self.name.encode()).hexdigest()
        self.volume = "csi-" + hashlib.sha256(self.name.encode()).hexdigest()
        self.target = node.kubelet / "pods" / self.uid / "volumes/kubernetes.io~csi/inputs/mount"
        self.target.parent.mkdir(parents=True, mode=0o750)
        self.namespace = "team-a"

    def context(self, attributes):
        info = {"pod.name": self.name, "pod.namespace": self.namespace, "pod.uid": self.uid, "serviceAccount.name": "default",
                "ephemeral": "true"}
        return {**attributes, **{f"csi.storage.k8s.io/{key}": value for key, value in info.items()}}

    def request(self, inputs=None, secrets=None, readonly=False, context=None, **attributes):
        if inputs is not None:
            attributes["inputs"] = inputs
        return csi_pb2.NodePublishVolumeRequest(
            volume_id=self.volume, target_path=str(self.target), volume_capability=capability(), readonly=readonly,
            secrets=secrets or {}, volume_context=self.context(attributes) if context is None else context)

    def publish(self, inputs=None, timeout=60, **options):
        return self.node.call("NodePublishVolume", self.request(inputs, **options), timeout=timeout)

    def publish_as_kubelet(self, inputs=None, seconds=120, timeout=30, **options):
        """Retries non-final codes, as kubelet does. Returns the messages of the failures."""
        deadline, messages = time.monotonic() + seconds, []
        while True:
            try:
                self.publish(inputs, timeout=timeout, **options)
                return messages
            except grpc.RpcError as error:
                messages.append(f"{error.code().name}: {error.details()}")
                if error.code() not in NON_FINAL or time.monotonic() > deadline:
                    raise AssertionError(messages[-1]) from error
                time.sleep(0.2)

    def unpublish(self, timeout=30):
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=self.volume, target_path=str(self.target))
        return self.node.call("NodeUnpublishVolume", request, timeout=timeout)

    def unpublish_as_kubelet(self, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.unpublish()
            except grpc.RpcError as error:
                if error.code() not in NON_FINAL or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def mounts(self):
        return mounts(self.target)

    def nothing_left(self):
        need(not self.mounts(), lambda: f"still mounted: {self.mounts()}")
        need(not os.path.lexists(self.target), "the target is still there")

    def final(self, code, call, *words, absent=()):
        """A final error: the code, and nothing of the volume is left behind."""
        message = expect(code, call, *words, absent=absent)
        self.nothing_left()
        return message

    def read(self, path):
        return (self.target / path).read_bytes()


def log(text):
    print(text, flush=True)


PRINT_LOCK = threading.Lock()


def report(name, complaint, seconds):
    with PRINT_LOCK:
        log(f"ok {name}" if complaint is None else f"not ok {name}: {complaint}")
        if seconds > 20:
            print(f"# {name} took {seconds:.0f} s", file=sys.stderr, flush=True)


def suite(name, modules, run_all):
    """Imports the modules of tests, runs, and ends the process whatever is raised: a thread that some test left behind would be waited for
    otherwise. run_all returns a truth for each test."""
    results = [False]
    try:
        for module in modules:
            importlib.import_module(module)
        results = run_all()
    except BaseException:
        log(f"not ok {name}: {traceback.format_exc()}")
        for plugin in Plugin.everyone:
            if plugin.process:
                plugin.process.kill()
    finally:
        print(f"{sum(results)} passed, {len(results) - sum(results)} failed", flush=True)
        os._exit(0 if results and all(results) else 1)
