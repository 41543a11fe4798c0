"""The guest as a small data centre: a server and nodes, each in its own network namespace, joined by a veth pair each.

The first namespace is the node that the plugin runs on; two network namespaces are two NFS clients of one server."""

import contextlib
import os
import subprocess

MODULES = os.environ["SCRATCH"] + "/modules"
SERVER = "10.99.0.1"
SERVER_NS = "server"
_SMB = ("cifs md4 md5 sha256_generic sha512_generic cmac hmac ecb aes_generic ccm gcm cbc ctr ghash_generic nls_utf8").split()
_ALL = ["overlay", "loop", "erofs", "veth", "sch_netem", "nfsd", "nfs", "nfsv3", "nfsv4"] + _SMB


def run(*argv, seconds=30, wanted=(0,), **more):
    """Runs a program with a time limit; its output, both streams. Raises when its exit status is not a wanted one."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                          text=True, errors="replace", check=False, **more)
    if wanted is not None and done.returncode not in wanted:
        raise RuntimeError(f"{' '.join(argv)}: exit status {done.returncode}: {done.stdout.strip()[-400:]}")
    return done.stdout


def inside(namespace, *argv):
    """The command line that runs argv in a network namespace (mounts stay common)."""
    return ("nsenter", f"--net=/run/netns/{namespace}") + argv if namespace else argv


def load_modules():
    for name in _ALL:
        run("modprobe", "-d", MODULES, name)


def _address(namespace, device, address, peer):
    """Fixed neighbours: a silent peer must be silence, not an unreachable host."""
    run(*inside(namespace, "ip", "addr", "add", address, "dev", device))
    run(*inside(namespace, "ip", "link", "set", device, "up"))
    run(*inside(namespace, "ip", "neigh", "replace", peer[0], "lladdr", peer[1], "dev", device))


def _mac(namespace, device):
    return run(*inside(namespace, "cat", f"/sys/class/net/{device}/address")).strip()


class Network:
    """client 0 is the first namespace; add_client() makes others, each with its own address of the server."""

    def __init__(self):
        self.links = 0
        run("ip", "netns", "add", SERVER_NS)
        run(*inside(SERVER_NS, "ip", "link", "set", "lo", "up"))
        self.add_client(None)

    def add_client(self, namespace):
        """Returns the server's address as this client reaches it."""
        number = self.links
        self.links += 1
        near, far, base = f"n{number}", f"s{number}", f"10.99.{number}"
        macs = (f"02:00:00:00:{number:02x}:02", f"02:00:00:00:{number:02x}:01")
        if namespace:
            run("ip", "netns", "add", namespace)
            run(*inside(namespace, "ip", "link", "set", "lo", "up"))
        run("ip", "link", "add", near, "address", macs[0], "type", "veth", "peer", "name", far, "address", macs[1])
        run("ip", "link", "set", far, "netns", SERVER_NS)
        if namespace:
            run("ip", "link", "set", near, "netns", namespace)
        _address(SERVER_NS, far, f"{base}.1/24", (f"{base}.2", macs[0]))
        _address(namespace, near, f"{base}.2/24", (f"{base}.1", macs[1]))
        return f"{base}.1"

    def silence(self, number=0):
        """From now on nothing of the server arrives at this client: what a dead machine or a cut cable looks like."""
        run(*inside(SERVER_NS, "tc", "qdisc", "replace", "dev", f"s{number}", "root", "netem", "loss", "100%"))

    def restore(self, number=0):
        run(*inside(SERVER_NS, "tc", "qdisc", "del", "dev", f"s{number}", "root"), wanted=(0, 2))

    @contextlib.contextmanager
    def silent(self, number=0):
        self.silence(number)
        try:
            yield
        finally:
            self.restore(number)
