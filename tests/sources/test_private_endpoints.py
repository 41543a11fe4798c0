"""Stores of clouds at private addresses (DESIGN: PrivateLink, private endpoints): a host name of the cloud's own, verified by TLS, may resolve
to one; nothing else may, and no such name may resolve to loopback, link-local or metadata addresses. Nor to another port."""

import contextlib
import datetime
import http.server
import ipaddress
import pathlib
import ssl
import subprocess
import threading

import guard
import harness
import resolver
from azure_world import ACCOUNT, CONTAINER, OTHER, azure_world, url
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from harness import Code, expect, need, test
from listener import Listener
from tokens import private_pem, rsa_key

PRIVATE = "10.77.0.5"
BLOB = "blob.core.windows.net"
ZONE = {f"{ACCOUNT}.{BLOB}": [PRIVATE], f"{OTHER}.{BLOB}": ["127.0.0.1"], f"metadata.{BLOB}": ["169.254.169.254"], "store.test": [PRIVATE],
        f"{ACCOUNT}.{BLOB}.store.test": [PRIVATE], "moves.test": ["127.0.0.1"]}


def certificate(world, directory):
    """(certificate, key) files for the names of the zone, by the test CA."""
    with open(world.nginx.dir / "tls" / "ca.key", "rb") as file:
        ca_key = serialization.load_pem_private_key(file.read(), None)
    ca = x509.load_pem_x509_certificate(world.nginx.ca.read_bytes())
    key, now = rsa_key(), datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName(name) for name in ZONE] + [x509.IPAddress(ipaddress.ip_address(PRIVATE))]
    made = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "private")])).issuer_name(ca.subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1)).add_extension(x509.SubjectAlternativeName(names), False).sign(ca_key, hashes.SHA256()))
    directory.mkdir()
    (directory / "crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "key").write_text(private_pem(key))
    return str(directory / "crt"), str(directory / "key")


class PrivateGuard(guard.Guard):
    """A guard at an address and port of its own."""

    def __init__(self, upstream_port, tls, upstream_ca, host, port):
        self.upstream_port, self.rule = upstream_port, guard.Anyone()
        self.upstream_context = ssl.create_default_context(cafile=upstream_ca)
        self.lock, self.records, self.faults = threading.Lock(), [], []
        Listener.__init__(self, guard.Handler, tls, host, port)


class Moves(http.server.BaseHTTPRequestHandler):
    """/x: go to https://<x>"""

    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "https:/" + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def address(text):
    subprocess.run(["ip", "addr", "add", f"{text}/32", "dev", "lo"], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run(["ip", "addr", "del", f"{text}/32", "dev", "lo"], check=True, timeout=20)


class Place:
    """A plugin whose class allows no private addresses, with names from our server, and azurite where they lead."""

    def __init__(self, world):
        self.azure = azure_world(world)
        self.tls = certificate(world, harness.WORK / "private-tls")
        self.stack = contextlib.ExitStack()
        enter = self.stack.enter_context
        enter(address(PRIVATE))
        self.guards = [PrivateGuard(self.azure.azurite.port, self.tls, world.nginx.ca, host, port)
                       for host, port in ((PRIVATE, 443), (PRIVATE, 8443), ("127.0.0.1", 443))]
        self.moves = Listener(Moves, self.tls)
        for server in (*self.guards, self.moves):
            self.stack.callback(server.stop)
        names = enter(resolver.Resolver(ZONE, harness.WORK / "private-names"))
        ca = {"caBundle": str(world.nginx.ca)}
        self.node = enter(harness.Node("private", {"none": ca, "loopback": {**ca, **harness.LOOPBACK}, "all": {**ca, "allowedAddresses": f"{PRIVATE}/32"}},
                                       wrap=names.wrap()))
        self.key = self.azure.key_secret

    def read(self, pod, name):
        """The plugin's mounts are its own, as its names are."""
        return pathlib.Path(f"/proc/{self.node.process.pid}/root{pod.target}/{name}").read_bytes()

    def refused(self, inputs, *words, storage_class="none"):
        made = self.node.pod("refused")
        before = self.count()
        expect(Code.PERMISSION_DENIED, lambda: made.publish(f"{inputs} -> x", storageClass=storage_class, secrets=self.key), "address not allowed", *words)
        need(self.count() == before, "somebody was asked")

    def count(self):
        return sum(server.count() for server in self.guards)


@test("private-endpoint of-a-cloud", exclusive=True)
def private_endpoints(world):
    place = Place(world)
    with place.stack:
        blob, web = place.azure.put("private", b"p" * 5000), f"https://{ACCOUNT}.{BLOB}/{CONTAINER}/private"
        made = place.node.pod("private")
        made.publish_as_kubelet(f"{blob} -> as-az\n{web} -> as-https", storageClass="none", secrets=place.key)
        need(place.read(made, "as-az") == place.read(made, "as-https") == b"p" * 5000, "contents")
        made.unpublish()
        sent = [record["sent"] for record in place.guards[0].requests() if record["sent"] > 1]
        need(sum(sent) == 5000, f"one blob is one object, however it is named (row 47): {sent}")
        place.refused(f"https://store.test/{CONTAINER}/private", "private address")
        place.refused(f"https://{ACCOUNT}.{BLOB}.store.test/{CONTAINER}/private", "private address")
        place.refused(f"https://{PRIVATE}/{CONTAINER}/private", "private address")
        place.refused(f"https://{ACCOUNT}.{BLOB}:8443/{CONTAINER}/private", "private address")
        place.refused(f"http://{ACCOUNT}.{BLOB}/{CONTAINER}/private", "private address")
        place.refused(url("private", account=OTHER), "loopback")
        place.refused(url("private", account="metadata"), "metadata service")
        # On every hop.
        moves = f"https://moves.test:{place.moves.port}"
        place.refused(f"{moves}/store.test/{CONTAINER}/private", "private address", storage_class="loopback")
        place.refused(f"{moves}/metadata.{BLOB}/{CONTAINER}/private", "metadata service", storage_class="loopback")
        with place.azure.service() as service:
            service.create_container("for-all", public_access="blob")
        place.azure.put("open", b"by way of another", container="for-all")
        moved = place.node.pod("moved")
        moved.publish_as_kubelet(f"{moves}/{ACCOUNT}.{BLOB}/for-all/open -> x", storageClass="loopback")
        need(place.read(moved, "x") == b"by way of another", "contents behind a redirect")
        moved.unpublish()
