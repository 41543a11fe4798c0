"""A node: containerd and kubelet, in the mount, process and network namespaces of the test, at the paths that they have on
every node (/var/lib/kubelet, /run/containerd), which lie in the test's own directory.

The namespaces are the caller's (hack/test makes them); cgroups are not namespaced, so that everything goes below one
parent that is removed at the end. Pods get addresses from a bridge; the service "kubernetes" is reached at its own address,
where the API server listens too, because there is no kube-proxy.
"""

import json
import os
import pathlib
import signal
import subprocess
import time

import image
from control_plane import SERVICE_ADDRESS, ControlPlane
from processes import Program, need_program, wait_until

NAME = "node-1"
ADDRESS = "10.250.0.1"
API_PORT = 443
CGROUP_PREFIX = "sharedcache-e2e-"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
OURS = ("/var/lib", "/var/log", "/run")
# What kubelet wants of the kernel, which no namespace keeps apart. It finds it there, and the machine's own values stay.
KERNEL = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1,
          "kernel/keys/root_maxkeys": 1000000, "kernel/keys/root_maxbytes": 25000000}

CONTAINERD = """
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
"""

NETWORK = {
    "cniVersion": "0.4.0", "name": "pods",
    "plugins": [{"type": "bridge", "bridge": "pods0", "isDefaultGateway": True,
                 "ipam": {"type": "host-local", "subnet": "10.250.0.0/16", "rangeStart": "10.250.1.1", "gateway": ADDRESS,
                          "dataDir": "/run/cni"}}],
}


def kubelet_config(authority, taints):
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": authority.path("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "tlsCertFile": authority.path("kubelet.crt"), "tlsPrivateKeyFile": authority.path("kubelet.key"),
        "address": ADDRESS, "port": 10250, "readOnlyPort": 0, "healthzBindAddress": "127.0.0.1", "healthzPort": 10248,
        # What this machine is: version 1 cgroups, no right to lower a score of the OOM killer, no systemd.
        "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{cgroup_parent()}", "enforceNodeAllocatable": [], "failCgroupV1": False,
        "failSwapOn": False, "protectKernelDefaults": True, "oomScoreAdj": 0,
        # Names are not what is tested: nothing answers there.
        "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local", "resolvConf": "",
        # A full disk of the machine that runs the tests is none of the cluster's business.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "registerWithTaints": list(taints), "maxPods": 110, "serializeImagePulls": False, "syncFrequency": "10s", "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s", "podLogsDir": "/var/log/pods",
    }


def cgroup_parent():
    return f"{CGROUP_PREFIX}{pathlib.Path('/proc/self/ns/net').readlink().name[5:-1]}"


def controllers():
    """The mounted hierarchies; every one of them gets a parent of ours."""
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return [pathlib.Path(line.split()[4]) for line in lines if " - cgroup " in line or " - cgroup2 " in line]


class Node:
    """taints: what the node registers with, as node groups of clouds do it for a plugin that must come first."""

    def __init__(self, directory, plane, taints=()):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        self.plane, self.taints = plane, taints
        self.authority = plane.pki
        self.containerd = self.kubelet = None

    def start(self, archives=()):
        """archives: OCI archives of the images that pods will use."""
        own_directories(self.dir)
        own_kernel_settings(self.dir / "sysctl")
        own_network()
        make_cgroups()
        self.authority.issue("kubelet", f"system:node:{NAME}", "system:nodes", [f"DNS:{NAME}", f"IP:{ADDRESS}", "IP:127.0.0.1"])
        self.start_containerd()
        for archive in archives:
            self.load_image(archive)
        self.start_kubelet()
        wait_until(self.ready, 90, "the node is ready", [self.containerd, self.kubelet])
        return self

    def start_containerd(self):
        cni = self.dir / "cni"
        cni.mkdir(exist_ok=True)
        (cni / "10-pods.conflist").write_text(json.dumps(NETWORK))
        config = self.dir / "containerd.toml"
        config.write_text(CONTAINERD.format(socket=CONTAINERD_SOCKET, pause=f"{image.REGISTRY}/pause:1", cni=cni))
        self.containerd = Program("containerd", ["containerd", "--config", config], self.dir).start()
        wait_until(lambda: self.ctr("version", check=False).returncode == 0, 60, "containerd answers", [self.containerd])
        self.load_image(image_archive(self.dir, image.pause_image, "pause.tar"))

    def start_kubelet(self):
        """Also after a stop: what it knew is in /var/lib/kubelet."""
        config = self.dir / "kubelet.json"
        config.write_text(json.dumps(kubelet_config(self.authority, self.taints)))
        kubeconfig = self.authority.kubeconfig("kubelet", self.plane.server)
        self.kubelet = Program("kubelet", ["kubelet", f"--config={config}", f"--kubeconfig={kubeconfig}", f"--hostname-override={NAME}",
                                           f"--node-ip={ADDRESS}", "--v=2"], self.dir).start()

    def ctr(self, *arguments, check=True):
        command = [need_program("ctr"), "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=check)

    def load_image(self, archive):
        done = self.ctr("images", "import", archive, check=False)
        if done.returncode:
            raise RuntimeError(f"ctr images import {archive}: {done.stderr}")

    def ready(self):
        done = self.plane.kubectl("get", "node", NAME, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}", check=False)
        return done.stdout == "True"

    def stop_kubelet(self, sig=signal.SIGTERM):
        self.kubelet.stop(sig=sig)

    def stop(self):
        """Kubelet, then every container, then containerd, then the cgroups."""
        for program in (self.kubelet, self.containerd):
            if program:
                program.stop()
        kill_cgroups()
        remove_cgroups()
        for name in KERNEL:
            subprocess.run(["umount", f"/proc/sys/{name}"], stderr=subprocess.DEVNULL, check=False)


def image_archive(directory, make, name):
    path = pathlib.Path(directory) / name
    if not path.exists():
        make(path)
    return path


def own_directories(directory):
    """The node's directories are the test's, and what containers mount in them is seen by kubelet (shared propagation)."""
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    for each in OURS:
        ours = directory / each.strip("/").replace("/", "-")
        ours.mkdir()
        subprocess.run(["mount", "--bind", ours, each], check=True)


def own_kernel_settings(directory):
    """Files over those of /proc/sys, in this mount namespace only."""
    directory.mkdir()
    for name, value in KERNEL.items():
        ours = directory / name.replace("/", ".")
        ours.write_text(f"{value}\n")
        subprocess.run(["mount", "--bind", ours, f"/proc/sys/{name}"], check=True)


def own_network():
    commands = ["ip link set lo up", f"ip address add {SERVICE_ADDRESS}/32 dev lo", "ip link add pods0 type bridge",
                f"ip address add {ADDRESS}/16 dev pods0", "ip link set pods0 up", f"ip route add default via {ADDRESS}"]
    for command in commands:
        subprocess.run(command.split(), check=True)


def make_cgroups():
    """Also takes away those of runs that were killed: no run lasts an hour."""
    for hierarchy in controllers():
        for old in hierarchy.glob(f"{CGROUP_PREFIX}*"):
            if old.stat().st_mtime < time.time() - 3600:
                remove_empty(old)
        path = hierarchy / cgroup_parent()
        path.mkdir(exist_ok=True)
        # A cpuset without processors and memory takes no process.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (path / name).exists():
                (path / name).write_text((hierarchy / name).read_text())


def remove_empty(parent):
    """False when one of the groups holds a process."""
    for path, _, _ in os.walk(parent, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            return False
    return True


def cgroup_directories():
    for hierarchy in controllers():
        for path, _, _ in os.walk(hierarchy / cgroup_parent(), topdown=False):
            yield pathlib.Path(path)


def cgroup_processes():
    found = set()
    for path in cgroup_directories():
        try:
            found.update(int(pid) for pid in (path / "cgroup.procs").read_text().split())
        except OSError:
            continue  # it went meanwhile
    # 0: a process of another namespace, never one of ours.
    return found - {0, os.getpid()}


def kill_cgroups():
    def none_left():
        for pid in cgroup_processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not cgroup_processes()
    wait_until(none_left, 30, "all containers end")


def kill_shims():
    """The runtime's own processes, one for each pod: they end when a machine does, but not with containerd."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"containerd-shim" in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue


def remove_cgroups():
    wait_until(lambda: all([remove_empty(hierarchy / cgroup_parent()) for hierarchy in controllers()]), 30, "the cgroups go")


class Cluster:
    """All of it: with Cluster(dir) as cluster: cluster.plane.kubectl(...), cluster.node.stop_kubelet()."""

    def __init__(self, directory, archives=(), taints=()):
        self.dir = pathlib.Path(directory)
        self.archives = archives
        self.plane = ControlPlane(self.dir / "plane", API_PORT, ADDRESS)
        self.node = Node(self.dir / "node", self.plane, taints)

    def __enter__(self):
        try:
            self.plane.start()
            self.plane.start_controllers()
            self.node.start(self.archives)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        self.node.stop()
        self.plane.stop()

    def __exit__(self, *_):
        self.stop()
