"""An honest origin: nginx on loopback, with ETag, ranges, an access log, and TLS with certificates of a test CA that openssl
makes at run time: good, wrong-name, expired, self-signed.

As a program: nginx.py DIR ROOT serves ROOT over HTTP, writes DIR/port, logs to DIR/access.log, and runs until its standard
input ends.
"""

import concurrent.futures
import contextlib
import itertools
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import time

CERTIFICATES = ("good", "wrong-name", "expired", "self-signed")

CONFIG = """
daemon off;
user nobody nogroup;
worker_processes 2;
error_log {dir}/error.log info;
pid {dir}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    types {{ }}
    default_type application/octet-stream;
    sendfile on;
    etag on;
    log_format exchanges escape=none "$msec\\t$request_method\\t$uri\\t$status\\t$body_bytes_sent\\t$http_range\\t$server_port";
    access_log {dir}/access.log exchanges;
    client_body_temp_path {dir}/tmp; proxy_temp_path {dir}/tmp; fastcgi_temp_path {dir}/tmp;
    uwsgi_temp_path {dir}/tmp; scgi_temp_path {dir}/tmp;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location /auth/ {{ auth_basic "private"; auth_basic_user_file {dir}/htpasswd; }}
        location /slow/ {{ limit_rate {slow_rate}; }}
    }}
{tls}
}}
"""

TLS_SERVER = """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {dir}/tls/{name}.crt;
        ssl_certificate_key {dir}/tls/{name}.key;
        root {root};
    }}
"""

CA_CONFIG = """
[ca]
default_ca = test
[test]
dir = .
database = ./index.txt
serial = ./serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""


# Below the ports that connections get by themselves, so that none of them takes one before its server listens.
PORTS = itertools.count(random.randrange(10000, 30000))


def free_port():
    while True:
        port = next(PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


# What --pdeathsig waits for is the end of the thread that started it: this one lives as long as the process.
STARTER = concurrent.futures.ThreadPoolExecutor(1)


def start_server(command, log, **options):
    """Ends when this process does, however that comes, and holds none of its outputs open: a reader of them would wait for good."""
    with open(log, "ab") as output:
        return STARTER.submit(subprocess.Popen, ["setpriv", "--pdeathsig", "TERM", *command], stdin=subprocess.DEVNULL, stdout=output,
                              stderr=output, **options).result()


def stop_server(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)
        raise


def openssl(directory, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace')}")


def make_ca(directory):
    """ca.crt, and for each of CERTIFICATES a .crt and a .key."""
    directory.mkdir()
    (directory / "ca.cnf").write_text(CA_CONFIG)
    (directory / "index.txt").write_text("")
    (directory / "serial").write_text("1000\n")
    openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2",
            "-subj", "/CN=Test CA", "-addext", "basicConstraints=critical,CA:TRUE")
    names = {"good": "DNS:localhost,DNS:origin.test,IP:127.0.0.1", "wrong-name": "DNS:somebody-else.test",
             "expired": "DNS:localhost,DNS:origin.test,IP:127.0.0.1"}
    for name, alternatives in names.items():
        openssl(directory, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternatives}")
        dates = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"] if name == "expired" else ["-days", "2"]
        openssl(directory, "ca", "-config", "ca.cnf", "-batch", "-notext", "-in", f"{name}.csr", "-out", f"{name}.crt",
                "-cert", "ca.crt", "-keyfile", "ca.key", *dates)
    openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "self-signed.key", "-out", "self-signed.crt",
            "-days", "2", "-subj", "/CN=self", "-addext", "subjectAltName=DNS:localhost,DNS:origin.test,IP:127.0.0.1")


def wait_for_port(port, process, what):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with status {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{what} does not listen on port {port}")


class Nginx:
    def __init__(self, directory, root, tls=False, slow_rate="256k"):
        self.dir = pathlib.Path(directory)
        self.root = pathlib.Path(root)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.tls_ports = {}
        blocks = ""
        if tls:
            make_ca(self.dir / "tls")
            for name in CERTIFICATES:
                self.tls_ports[name] = free_port()
                blocks += TLS_SERVER.format(port=self.tls_ports[name], dir=self.dir, name=name, root=self.root)
        # The password of "reader" is "swordfish"; crypt by openssl, as htpasswd would.
        hashed = subprocess.run(["openssl", "passwd", "-apr1", "swordfish"], capture_output=True, check=True, text=True, timeout=60).stdout
        (self.dir / "htpasswd").write_text(f"reader:{hashed}")
        (self.dir / "access.log").touch()
        config = self.dir / "nginx.conf"
        config.write_text(CONFIG.format(dir=self.dir, port=self.port, root=self.root, tls=blocks, slow_rate=slow_rate))
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = start_server([binary, "-e", self.dir / "error.log", "-c", config, "-p", self.dir], self.dir / "output.log")
        wait_for_port(self.port, self.process, "nginx")

    @property
    def ca(self):
        return self.dir / "tls" / "ca.crt"

    def url(self, path, certificate=None, host=None):
        if certificate:
            return f"https://{host or 'localhost'}:{self.tls_ports[certificate]}/{path.lstrip('/')}"
        return f"http://{host or '127.0.0.1'}:{self.port}/{path.lstrip('/')}"

    def exchanges(self, uri=None):
        """[(method, uri, status, body bytes, range)] so far, of one path or of all."""
        found = []
        for line in (self.dir / "access.log").read_text(errors="replace").splitlines():
            _, method, path, status, sent, wanted, _ = line.split("\t")
            if uri is None or path == uri:
                found.append((method, path, int(status), int(sent), wanted))
        return found

    def body_bytes(self, uri=None):
        return sum(sent for _, _, status, sent, _ in self.exchanges(uri) if status in (200, 206))

    def stop(self):
        stop_server(self.process)


if __name__ == "__main__":
    SERVER = Nginx(sys.argv[1], sys.argv[2])
    (SERVER.dir / "port.new").write_text(f"{SERVER.port}\n")
    (SERVER.dir / "port.new").rename(SERVER.dir / "port")
    sys.stdin.read()
    SERVER.stop()
