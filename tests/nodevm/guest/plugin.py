"""The node plugin under test: its classes, its process, its log."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import look
from csi import Client, Volume
from machine import SERVER
from report import check, until
from servers import SMB_PASSWORD, SMB_USER, STORE_UID, Nfs

SHARES = ("nfs3", "nfs41", "smb")
POLICIES = ("direct", "copy")


def _write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def share_parameters(share, export="open"):
    """What an admin's StorageClass says of a share, and its mount options."""
    if share == "local":
        return {"shareType": "local"}, []
    if share == "smb":
        return {"shareType": "smb", "share": f"//{SERVER}/cache", "shareSecret": "smb-login"}, []
    version = {"nfs3": "3", "nfs41": "4.1"}[share]
    return {"shareType": "nfs", "share": Nfs.source(version, export)}, [f"vers={version}"]


class Plugin:
    """One plugin with a state directory and classes of its own; start() and kill() may be called again and again."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.root = f"/mnt/node/{name}"
        self.kubelet_dir = f"{self.root}/kubelet"
        self.state_dir = f"{self.root}/state"
        self.class_dir = f"{self.root}/classes"
        self.socket = f"{self.root}/socket/csi.sock"
        self.log_path = f"{world.scratch}/plugin-{name.replace('/', '-')}.log"
        self.process = self.client = None
        for path in (self.kubelet_dir, self.state_dir, self.class_dir, os.path.dirname(self.socket)):
            os.makedirs(path, mode=0o700)
        _write(f"{self.root}/secrets/smb-login/username", SMB_USER, 0o600)
        _write(f"{self.root}/secrets/smb-login/password", SMB_PASSWORD, 0o600)

    def add_class(self, name, share, policy="direct", export="open", options=(), **parameters):
        parts, base = share_parameters(share, export)
        body = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "csi.sharedcache.io",
            "parameters": {**parts, "copyPolicy": policy, "podMayChoose": "copyPolicy", "allowedAddresses": "127.0.0.0/8",
                           **parameters},
            "mountOptions": base + list(options),
        }
        _write(f"{self.class_dir}/{name}.json", json.dumps(body))
        return name

    def start(self):
        if self.process and self.process.poll() is None:  # a case failed and left it
            self.kill()
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [self.world.binary, "node", "--endpoint", f"unix://{self.socket}", "--node-id", "node", "--state-dir", self.state_dir,
             "--kubelet-dir", self.kubelet_dir, "--class-dir", self.class_dir, "--secrets-dir", f"{self.root}/secrets",
             "--fetcher-uid", str(STORE_UID), "--log-level", "debug"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        until(self._listens, 30, "the plugin's socket")
        self.client = Client(self.socket)
        until(self._ready, 30, "Probe says ready")
        return self

    def _listens(self):
        """Asked by hand: grpcio waits for seconds after a first connection that was refused."""
        check(self.process.poll() is None, f"the plugin ended with {self.process.poll()}: {self.log()[-500:]}")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)
            return True
        return False

    def _ready(self):
        answer = self.client.probe(5)
        return answer.ok and answer.reply.ready.value

    def kill(self):
        """kill -9 of the plugin alone: nothing that it could do about it."""
        self.client.close()
        self.process.kill()
        self.process.wait(30)

    def stop(self):
        """As kubelet stops the pod. True when it ended by itself."""
        if not self.process:
            return True
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)
            return False
        return self.process.returncode == 0

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def volume(self, pod, storage_class, inputs, **attributes):
        return Volume(self.kubelet_dir, pod, storage_class, inputs, **attributes)

    def family(self):
        return look.children(self.process.pid)

    def threads(self):
        return look.threads(self.process.pid)
