"""The cluster with the chart in it, and the servers beside it."""

import os
import pathlib
import subprocess

import aws_sts
import cases_identity
import harness
import image
import nginx
import node
import s3
from harness import DRIVER, PLUGIN, ROOT, WORK, need, wait_until

CHART = ROOT / "deploy" / "helm" / "sharedcache-csi"
NAMESPACE = "sharedcache"
RELEASE = "cache"
SHARE = pathlib.Path("/var/lib/share")
LOOPBACK = {"allowedAddresses": "127.0.0.0/8"}
# The one that the chart names, from its module: imported under that name, because no registry can be asked.
PROVISIONER = "registry.k8s.io/sig-storage/csi-provisioner:v6.3.0"
STARTUP_TAINT = f"{DRIVER}/agent-not-ready"
# 16 MiB in parts of 8 MiB take more than two minutes at this speed, which nginx gives each connection.
SLOW_RATE = "64k"


def values(world, level="info"):
    """What an administrator of this cluster writes. The share is a directory of the node: no kernel client of NFS is here."""
    share = {"shareType": "local", "share": str(SHARE), **LOOPBACK}
    classes = {"direct": share, "copy": {**share, "copyPolicy": "copy"}, "own-disk": LOOPBACK, "strict": {},
               "buckets": {**share, "s3Endpoint": world.s3.endpoint, "s3Region": s3.REGION},
               "by-token": {**share, **world.token_service.parameters()}}
    return {"storageClasses": [{"name": name, "parameters": parameters} for name, parameters in classes.items()],
            "node": {"localShares": [str(SHARE)], "startupTaint": {"enabled": True}}, "log": {"level": level},
            "csiDriver": {"tokenRequests": [{"audience": aws_sts.AUDIENCE, "expirationSeconds": 3600}]},
            "test": {"inputs": world.file("helm-test", b"helm test"), "storageClass": "direct"}}


class World:
    def __init__(self):
        self.root = WORK / "origin"
        self.root.mkdir(mode=0o755)
        archives = [WORK / "busybox.tar", WORK / "provisioner.tar", pathlib.Path(os.environ["SC_IMAGE"])]
        image.busybox_image(archives[0], harness.BUSYBOX)
        image.program_image(archives[1], PROVISIONER, harness.need_program("csi-provisioner"))
        self.cluster = node.Cluster(WORK / "cluster", archives, [{"key": STARTUP_TAINT, "effect": "NoSchedule"}])
        self.nginx = self.s3 = self.token_service = self.api = None
        self.taints_before, self.notes = [], []

    def start(self):
        self.cluster.__enter__()
        self.api = harness.api_of(self.cluster.plane)
        # One that says no to everybody, and one that is slow.
        self.nginx = nginx.Nginx(WORK / "nginx", self.root, slow_rate=SLOW_RATE)
        self.s3 = s3.VersityGateway(WORK / "s3")
        self.s3.make_bucket("data")
        self.token_service = cases_identity.TokenService(self)
        SHARE.mkdir(mode=0o755)
        return self

    def install(self):
        self.taints_before = self.taints()
        values_file = harness.write_json(WORK / "values.json", values(self))
        harness.helm(self, "install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--create-namespace", "--values", str(values_file),
                     "--wait", "--timeout", "120s")
        self.wait_registered()

    def upgrade(self, **changes):
        values_file = harness.write_json(WORK / "values.json", values(self, **changes))
        harness.helm(self, "upgrade", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(values_file), "--wait", "--timeout", "120s")

    def taints(self):
        return [each["key"] for each in self.api.get("Node", harness.NODE)["spec"].get("taints") or []]

    def registered(self):
        found = self.api.get("CSINode", harness.NODE)
        return any(each["name"] == DRIVER for each in (found or {}).get("spec", {}).get("drivers") or [])

    def wait_registered(self):
        wait_until(self.registered, 60, "the driver is in CSINode")

    def plugin_pod(self):
        """The running pod of the DaemonSet."""
        pods = self.api.list("Pod", NAMESPACE, "?labelSelector=app.kubernetes.io/component%3Dnode")
        return next((each for each in pods if not each["metadata"].get("deletionTimestamp")), None)

    def plugin_ready(self):
        found = self.plugin_pod()
        statuses = found["status"].get("containerStatuses") if found else None
        return bool(statuses) and all(each["ready"] for each in statuses)

    def file(self, name, data):
        """Puts a file on the origin; returns its URL."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o644)
        return self.nginx.url(name)

    def downloaded_once(self, path, size):
        # One byte is asked for at each publish, with the pod's identity: what is it now, and may this pod read it?
        sent = sum(sent for _, _, status, sent, wanted in self.nginx.exchanges(f"/{path}") if status in (200, 206) and wanted != "bytes=0-0")
        need(sent == size, f"{path}: {sent} bytes left the origin, the file has {size}")

    def log_of_plugin(self):
        """What its containers said so far, those that ended among them: from the node, which may be down."""
        files = sorted(pathlib.Path("/var/log/pods").glob(f"{NAMESPACE}_*/*/*.log"), key=lambda path: path.stat().st_mtime)
        # Each line begins with a time, a stream and a flag.
        return "".join(line.split(" ", 3)[3] for path in files for line in path.read_text(errors="replace").splitlines(keepends=True))

    def stop(self):
        for server in (self.nginx, self.token_service, self.s3):
            if server:
                server.stop()
        self.cluster.stop()

    def sockets(self):
        return [path for path in (PLUGIN / "csi.sock", harness.KUBELET / "plugins_registry" / f"{DRIVER}-reg.sock") if path.exists()]


def kubectl(world, *arguments):
    return world.cluster.plane.kubectl(*arguments)


def tail(path, count, word=""):
    lines = [line for line in path.read_text(errors="replace").splitlines() if word in line] if path.exists() else []
    return lines[-count:]


def unmount(target):
    subprocess.run(["umount", "--lazy", target], check=True)
