"""The real servers: the kernel's NFS server, Samba, and nginx as the origin that inputs come from."""

import contextlib
import hashlib
import os
import subprocess

from machine import SERVER, SERVER_NS, inside, run
from report import until

STORE_UID = 65532
SMB_USER = "cacheuser"
SMB_PASSWORD = "S3cret,with%odd=marks"
SHARES = "/mnt/server"  # the server's disk
ORIGIN = "/mnt/node/origin"


def _write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def _directory(path, uid, mode=0o755):
    os.makedirs(path, exist_ok=True)
    os.chown(path, uid, uid)
    os.chmod(path, mode)


class Nfs:
    """Exports `open` (root is root) and `squash` (root is nobody; the directory belongs to the store's uid)."""

    def __init__(self):
        _directory(f"{SHARES}/open", 0)
        _directory(f"{SHARES}/squash", STORE_UID)
        for name in ("open", "squash"):  # version 4 steps from one export into another at mount points only
            run("mount", "--bind", f"{SHARES}/{name}", f"{SHARES}/{name}")
        for name in ("/var/lib/nfs/sm", "/var/lib/nfs/nfsdcld", "/run/rpc_pipefs"):
            os.makedirs(name)
        for name in ("etab", "rmtab", "xtab", "state"):
            _write(f"/var/lib/nfs/{name}", "")
        # These two mounts belong to the network namespace of whoever made them.
        run(*inside(SERVER_NS, "mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd"))
        run(*inside(SERVER_NS, "mount", "-t", "rpc_pipefs", "rpc_pipefs", "/run/rpc_pipefs"))
        self._helpers()
        self.start()

    def _helpers(self):
        """nfsdcld remembers clients; a server that remembers none skips the time in which they could reclaim state."""
        self.rpcbind = subprocess.Popen(inside(SERVER_NS, "rpcbind", "-f", "-w"), stdin=subprocess.DEVNULL)
        until(lambda: os.path.exists("/run/rpcbind.sock"), 10, "rpcbind's socket")
        self.nfsdcld = subprocess.Popen(inside(SERVER_NS, "nfsdcld", "-F"), stdin=subprocess.DEVNULL)

    def start(self):
        for name, value in (("nfsv4leasetime", "10"), ("nfsv4gracetime", "10")):
            _write(f"/proc/fs/nfsd/{name}", value)
        for name in ("nlm_timeout", "nlm_grace_period"):  # no lock is given before this has passed, to version 4 neither
            _write(f"/sys/module/lockd/parameters/{name}", "3")
        run(*inside(SERVER_NS, "exportfs", "-o", "ro,insecure,no_subtree_check,fsid=0", f"*:{SHARES}"))
        run(*inside(SERVER_NS, "exportfs", "-o", "rw,insecure,no_subtree_check,no_root_squash", f"*:{SHARES}/open"))
        run(*inside(SERVER_NS, "exportfs", "-o", "rw,insecure,no_subtree_check,root_squash", f"*:{SHARES}/squash"))
        run(*inside(SERVER_NS, "rpc.nfsd", "--no-udp", "4"))
        self.mountd = subprocess.Popen(inside(SERVER_NS, "rpc.mountd", "--foreground", "--no-udp"), stdin=subprocess.DEVNULL)
        until(lambda: "mountd" in run(*inside(SERVER_NS, "rpcinfo", "-p"), wanted=None), 20, "mountd to be registered")
        self._end_grace()

    def _end_grace(self):
        """No client has anything to reclaim. (EBUSY: the period is over already.)"""
        with contextlib.suppress(OSError):
            _write("/proc/fs/nfsd/v4_end_grace", "Y")
        until(lambda: _read("/proc/fs/nfsd/v4_end_grace").startswith("Y"), 15, "the end of the grace period")

    @staticmethod
    def source(version, name, address=SERVER):
        """As mount(8) takes it: version 4 sees the exports below a root of their own."""
        return f"{address}:/{name}" if version.startswith("4") else f"{address}:{SHARES}/{name}"

    def stop(self):
        """Connections are refused and the state is gone: a server that is being restarted."""
        run(*inside(SERVER_NS, "rpc.nfsd", "0"))
        self.mountd.terminate()
        self.mountd.wait(10)


_SMB_CONF = """[global]
    server role = standalone server
    interfaces = lo {address}
    disable netbios = yes
    smb ports = 445
    server min protocol = SMB3_11
    log file = /var/log/samba/log
    pid directory = /run/samba
    lock directory = /run/samba
    state directory = /run/samba/state
    cache directory = /run/samba/cache
    private dir = /run/samba/private
    ncalrpc dir = /run/samba/ncalrpc
    load printers = no
    passdb backend = smbpasswd:/run/samba/private/smbpasswd
    usershare max shares = 0
[cache]
    path = {shares}/smb
    read only = no
    valid users = {user}
"""


class Smb:
    """//server/cache, for one user with a password that has marks in it which option parsers trip over."""

    def __init__(self):
        _directory(f"{SHARES}/smb", STORE_UID)
        for name in ("/run/samba/private", "/run/samba/state", "/run/samba/cache", "/run/samba/ncalrpc", "/var/log/samba"):
            os.makedirs(name)
        self._user()
        _write("/run/samba/smb.conf", _SMB_CONF.format(address=SERVER, shares=SHARES, user=SMB_USER))
        subprocess.run(["smbpasswd", "-c", "/run/samba/smb.conf", "-a", "-s", SMB_USER], input=f"{SMB_PASSWORD}\n" * 2, text=True,
                       stdout=subprocess.DEVNULL, check=True, timeout=30)
        self.start()

    def _user(self):
        with open("/etc/passwd", encoding="utf-8") as file:
            text = file.read()
        _write("/run/passwd", text + f"{SMB_USER}:x:{STORE_UID}:{STORE_UID}::/nonexistent:/usr/sbin/nologin\n")
        run("mount", "--bind", "/run/passwd", "/etc/passwd")

    def start(self):
        self.smbd = subprocess.Popen(inside(SERVER_NS, "smbd", "--foreground", "--no-process-group", "-s", "/run/samba/smb.conf"),
                                     stdin=subprocess.DEVNULL, start_new_session=True)  # it ends its whole process group with itself
        until(lambda: b":01BD " in open("/proc/%d/net/tcp" % self.smbd.pid, "rb").read(), 30, "smbd to listen")

    def stop(self):
        self.smbd.terminate()
        self.smbd.wait(10)


_NGINX_CONF = """daemon off;
worker_processes 1;
user root;
pid {origin}/pid;
error_log {origin}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {origin}/access.log;
    client_body_temp_path {origin}/tmp; proxy_temp_path {origin}/tmp; fastcgi_temp_path {origin}/tmp;
    uwsgi_temp_path {origin}/tmp; scgi_temp_path {origin}/tmp;
    server {{
        listen 127.0.0.1:{port};
        root {origin}/files;
        location /slow/ {{ alias {origin}/files/; limit_rate 256k; }}
    }}
}}
"""


class Origin:
    """nginx on the node's loopback. /NAME at full speed, /slow/NAME at 256 KiB/s for each connection."""

    PORT = 8080

    def __init__(self):
        os.makedirs(f"{ORIGIN}/files", exist_ok=True)
        _write(f"{ORIGIN}/nginx.conf", _NGINX_CONF.format(origin=ORIGIN, port=self.PORT))
        self.nginx = subprocess.Popen(["nginx", "-e", f"{ORIGIN}/error.log", "-c", f"{ORIGIN}/nginx.conf"],
                                      stdin=subprocess.DEVNULL)
        until(lambda: os.path.exists(f"{ORIGIN}/pid"), 20, "nginx")

    def add(self, name, size):
        """A file of bytes that no other file has. Returns its SHA-256."""
        block = hashlib.sha256(name.encode()).digest() * 2048
        data = b"".join(block[:-8] + i.to_bytes(8, "big") for i in range(size // len(block) + 1))[:size]
        path = f"{ORIGIN}/files/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return hashlib.sha256(data).hexdigest()

    def url(self, name, slow=False):
        return f"http://127.0.0.1:{self.PORT}/{'slow/' if slow else ''}{name}"

    def bytes_sent(self, name):
        """Body bytes that left for this file, by the server's own log; a read of one byte only proves that it may be read."""
        total = 0
        with open(f"{ORIGIN}/access.log", encoding="utf-8") as file:
            for line in file:
                request, rest = line.split('"')[1:3]
                if request.startswith("GET ") and request.split()[1].endswith(name):
                    total += int(rest.split()[1]) if rest.split()[1] != "1" else 0
        return total
