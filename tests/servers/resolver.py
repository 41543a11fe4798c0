"""A name server for tests: a zone of names whose answers may differ from query to query, or never come. UDP, A and AAAA, time to live 0."""

import collections
import ipaddress
import socket
import struct
import threading

ADDRESSES = (f"127.19.53.{number}" for number in range(1, 255))  # of loopback, where no resolver of the system listens
A, AAAA = 1, 28


def question(packet):
    """(name, type, end) of the only question."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("ascii"))
        at += 1 + packet[at]
    return ".".join(labels).lower(), struct.unpack_from(">H", packet, at + 1)[0], at + 5


def answer(packet, end, found, addresses):
    """NXDOMAIN for a name that is not there; an empty answer for one without addresses of the kind."""
    flags = 0x8180 if found else 0x8183
    records = b""
    for address in addresses:
        data = ipaddress.ip_address(address).packed
        records += struct.pack(">HHHLH", 0xC00C, AAAA if len(data) == 16 else A, 1, 0, len(data)) + data
    return packet[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0) + packet[12:end] + records


class Resolver:
    """zone: {name: addresses, a function of the number of the query (from 1) that returns them, or None for silence}."""

    def __init__(self, zone, directory):
        self.zone, self.queries = zone, collections.Counter()
        self.address = next(ADDRESSES)
        directory.mkdir()
        self.resolv, self.nsswitch = directory / "resolv.conf", directory / "nsswitch.conf"
        self.resolv.write_text(f"nameserver {self.address}\noptions timeout:1 attempts:2\n")
        self.nsswitch.write_text("hosts: files dns\n")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.thread = None

    def __enter__(self):
        self.socket.bind((self.address, 53))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", (self.address, 53))  # closing alone would not wake it
        self.thread.join()
        self.socket.close()

    def serve(self):
        for packet, peer in iter(lambda: self.socket.recvfrom(512), None):
            if not packet:
                return
            name, kind, end = question(packet)
            self.queries[name, kind] += 1
            addresses = self.zone.get(name, ())
            if callable(addresses):
                addresses = addresses(self.queries[name, kind])
            if addresses is None:
                continue
            of_kind = [each for each in addresses if (":" in each) == (kind == AAAA)] if kind in (A, AAAA) else []
            self.socket.sendto(answer(packet, end, name in self.zone, of_kind), peer)

    def wrap(self):
        """What a command is started with to have its names from here; its mounts are its own then."""
        script = 'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"'
        return ("unshare", "--mount", "--propagation", "private", "bash", "-c", script, "resolver", str(self.resolv), str(self.nsswitch))
