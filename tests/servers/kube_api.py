"""A strict stand-in for the Kubernetes API server: TLS of a CA of its own, bearer tokens, objects in memory, and every fault on order.

It serves what a node asks for: GET of an object, POST into a collection, PATCH (JSON patch with test, merge patch), with the
statuses and Status objects of the real one. What a client must not do (no token, a query nobody asked for, another content
type) is refused, and kept in `complaints`. A real API server is met in the cluster suite.

As a program: kube_api.py DIR makes DIR/ca.crt, DIR/other-ca.crt, DIR/token and DIR/objects.json's objects, prints its port,
serves until its standard input ends, accepts the tokens that are lines of DIR/accepted, and has paths below /fault/ that
misbehave.
"""

import copy
import http.server
import json
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists", 415: "UnsupportedMediaType",
           422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
PATCHES = ("application/json-patch+json", "application/merge-patch+json")
STORAGE = "/apis/storage.k8s.io/v1"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(directory):
    """ca.crt signs server.crt for 127.0.0.1 and localhost; other-ca.crt signs nothing."""
    for name in ("ca", "other-ca"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                f"/CN=test {name}", "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.crt")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=kube-apiserver",
            "-keyout", directory / "server.key", "-out", directory / "server.csr")
    extensions = directory / "server.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", directory / "server.csr", "-CA", directory / "ca.crt", "-CAkey", directory / "ca.key",
            "-set_serial", "1", "-days", "2", "-extfile", extensions, "-out", directory / "server.crt")


class Answer(Exception):
    """Ends a request with a status."""

    def __init__(self, status, body):
        super().__init__(status)
        self.status, self.body = status, body


def refusal(status, message):
    return Answer(status, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                           "reason": REASONS.get(status, ""), "code": status})


def pointer(document, path):
    """(container, key) of an RFC 6901 pointer."""
    keys = [key.replace("~1", "/").replace("~0", "~") for key in path.split("/")[1:]]
    for key in keys[:-1]:
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document, int(keys[-1]) if isinstance(document, list) and keys[-1] != "-" else keys[-1]


def json_patch(document, operations):
    """RFC 6902, but for copy and move."""
    document = copy.deepcopy(document)
    for operation in operations:
        container, key = pointer(document, operation["path"])
        present = key in container if isinstance(container, dict) else 0 <= key < len(container)
        if operation["op"] == "test" and (not present or container[key] != operation["value"]):
            raise refusal(422, "the server rejected our request due to an error in our request")
        if operation["op"] in ("replace", "remove") and not present:
            raise refusal(422, f"{operation['op']} operation does not apply: doc is missing key: {operation['path']}")
        if operation["op"] in ("add", "replace"):
            container[key] = operation["value"]
        elif operation["op"] == "remove":
            del container[key]
        elif operation["op"] != "test":
            raise refusal(400, f"unknown operation {operation['op']}")
    return document


def merge_patch(document, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def handle_request(self):
        api = self.server.api
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        record = {"method": self.command, "path": self.path, "body": body.decode(), "connection": self.connection.fileno(),
                  "client": self.client_address[1]}
        with api.lock:
            api.requests.append(record)
        try:
            if api.hanging.is_set():
                api.wait_for_end(self.connection)
                raise ConnectionError
            self.answer(*api.serve(self, body))
        except Answer as answer:
            self.answer(answer.status, answer.body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = handle_request

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError, TimeoutError, ValueError, BrokenPipeError):
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    api = None
    context = None

    def finish_request(self, request, client_address):
        """The handshake is the thread's own work: one that hangs holds nobody up."""
        try:
            request.settimeout(30)
            with self.context.wrap_socket(request, server_side=True) as connection:
                self.api.remember(connection)
                self.RequestHandlerClass(connection, client_address, self)
        except OSError:
            with self.api.lock:
                self.api.handshakes_failed += 1

    def handle_error(self, *_):
        pass


class KubeApi:
    """objects: path -> object. forbidden: patterns of "METHOD path" that RBAC refuses. status: every request ends so."""

    def __init__(self, directory, objects=None, tokens=("token-of-the-node",)):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        make_certificates(self.dir)
        self.ca, self.token_file = self.dir / "ca.crt", self.dir / "token"
        self.token_file.write_text(tokens[0] + "\n")
        self.accepted = self.dir / "accepted"
        self.accepted.write_text("\n".join(tokens) + "\n")
        self.lock = threading.RLock()
        self.objects = dict(objects or {})
        self.requests, self.complaints, self.connections, self.forbidden = [], [], [], []
        self.status = None
        self.delay_s = 0
        self.before_patch = None  # called with (path) before each PATCH is applied: for conflicts
        self.hanging = threading.Event()
        self.faults_served = {}
        self.handshakes_failed = 0
        self.version = 0
        self.server, self.port = None, 0
        self.start()

    # The server itself

    def start(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.server.api = self
        self.server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.context.load_cert_chain(self.dir / "server.crt", self.dir / "server.key")
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Refuses connections from now on; those that are open end. start() brings it back on the same port."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        self.cut_connections()

    def hang(self):
        """Accepts and reads, and never answers."""
        self.hanging.set()

    def resume(self):
        self.hanging.clear()
        self.cut_connections()

    def remember(self, connection):
        with self.lock:
            self.connections.append(connection)

    def cut_connections(self):
        with self.lock:
            connections, self.connections = self.connections, []
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @staticmethod
    def wait_for_end(connection):
        try:
            connection.recv(1)
        except OSError:
            pass

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def flags(self):
        return ["--kube-url", self.url, "--kube-token-file", str(self.token_file), "--kube-ca-file", str(self.ca)]

    def asked(self, text):
        """The requests so far whose "METHOD path" holds the text."""
        with self.lock:
            return [record for record in self.requests if text in f"{record['method']} {record['path']}"]

    # Objects

    def put(self, path, document):
        with self.lock:
            self.version += 1
            document = copy.deepcopy(document)
            document.setdefault("metadata", {})["resourceVersion"] = str(self.version)
            document["metadata"].setdefault("uid", f"00000000-0000-0000-0000-{self.version:012}")
            self.objects[path] = document

    def get(self, path):
        with self.lock:
            return copy.deepcopy(self.objects.get(path))

    def delete(self, path):
        with self.lock:
            self.objects.pop(path, None)

    def put_class(self, name, parameters, provisioner="csi.sharedcache.io", mount_options=()):
        self.put(f"{STORAGE}/storageclasses/{name}", {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z",
                         "managedFields": [{"manager": "helm", "operation": "Update", "fieldsV1": {"f:parameters": {}}}]},
            "provisioner": provisioner, "parameters": dict(parameters), "mountOptions": list(mount_options),
            "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})

    def put_driver(self, name="csi.sharedcache.io", **spec):
        self.put(f"{STORAGE}/csidrivers/{name}", {
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": name},
            "spec": {"attachRequired": False, "podInfoOnMount": True, "fsGroupPolicy": "None", "requiresRepublish": False,
                     "seLinuxMount": False, "storageCapacity": False, "volumeLifecycleModes": ["Persistent", "Ephemeral"], **spec}})

    # Requests

    def complain(self, status, message):
        with self.lock:
            self.complaints.append(message)
        raise refusal(status, message)

    def check_request(self, request):
        path, authorization = request.path, request.headers.get("Authorization", "")
        if not re.fullmatch(r"127\.0\.0\.1:\d+|localhost:\d+", request.headers.get("Host", "")):
            self.complain(400, f"a Host of {request.headers.get('Host')}")
        if authorization.removeprefix("Bearer ") not in self.accepted.read_text().splitlines() or " " not in authorization:
            raise refusal(401, "Unauthorized")
        if "application/json" not in request.headers.get("Accept", ""):
            self.complain(406, f"{path}: an Accept of {request.headers.get('Accept')}")
        if not re.fullmatch(r"(/[A-Za-z0-9._:@-]+)+", path):
            self.complain(400, f"{path}: not a path of an object")

    def serve(self, request, body):
        self.check_request(request)
        line = f"{request.command} {request.path}"
        if request.path.startswith("/fault/"):
            return self.fault(request, body)
        time.sleep(self.delay_s)
        if self.status:
            raise refusal(self.status, f"the test wants {self.status}")
        if any(re.search(pattern, line) for pattern in self.forbidden):
            resource, name = request.path.rsplit("/", 2)[1:]
            raise refusal(403, f'{resource} "{name}" is forbidden: User "system:serviceaccount:sharedcache:node" cannot '
                               f'{request.command.lower()} resource "{resource}" at the cluster scope')
        method = getattr(self, f"serve_{request.command.lower()}", None)
        if not method:
            self.complain(405, f"{line}: not a method that is needed")
        return method(request, body)

    def serve_get(self, request, body):
        if body:
            self.complain(400, f"GET {request.path} with a body")
        found = self.get(request.path)
        if found is None:
            resource, name = request.path.rsplit("/", 2)[1:]
            raise refusal(404, f'{resource} "{name}" not found')
        return 200, found

    def serve_post(self, request, body):
        if request.headers.get("Content-Type") != "application/json":
            self.complain(415, f"POST {request.path}: a Content-Type of {request.headers.get('Content-Type')}")
        document = json.loads(body)
        metadata = document.setdefault("metadata", {})
        with self.lock:
            if "name" not in metadata and "generateName" in metadata:
                metadata["name"] = f"{metadata['generateName']}{self.version:05x}"
            path = f"{request.path}/{metadata['name']}"
            if path in self.objects:
                raise refusal(409, f'{request.path.rsplit("/", 1)[1]} "{metadata["name"]}" already exists')
            self.put(path, document)
            return 201, self.get(path)

    def serve_patch(self, request, body):
        kind = request.headers.get("Content-Type")
        if kind not in PATCHES:
            self.complain(415, f"PATCH {request.path}: a Content-Type of {kind}")
        if self.before_patch:
            self.before_patch(request.path)
        with self.lock:
            found = self.get(request.path)
            if found is None:
                raise refusal(404, f"{request.path} not found")
            self.put(request.path, (json_patch if kind == PATCHES[0] else merge_patch)(found, json.loads(body)))
            return 200, self.get(request.path)

    # Misbehaviour, for tests of the client alone

    def fault(self, request, body):
        name, _, argument = request.path.removeprefix("/fault/").partition("/")
        with self.lock:
            times = self.faults_served[request.path] = self.faults_served.get(request.path, 0) + 1
        if name == "echo":
            return 200, {"method": request.command, "type": request.headers.get("Content-Type"), "body": body.decode(),
                         "agent": request.headers.get("User-Agent"), "client": request.client_address[1]}
        if name == "status":
            raise refusal(int(argument), "line one\nline two \x07" + "of the API's own words " * 40)
        if name == "bare-status":
            return int(argument), b"<html>no Status object, and s3cret</html>"
        if name == "body":
            return 200, {"garbage": b"{\"a\":", "text": b"hello", "array": b"[1]", "nothing": b"", "latin1": b"{\"a\":\"\xff\"}",
                         "deep": b"{\"a\":" + b"[" * 100000 + b"]" * 100000 + b"}", "twice": b"{\"a\":1,\"a\":2}",
                         "whole": b"{\"a\":\"" + b"x" * ((4 << 20) - 8) + b"\"}"}[argument]
        if name == "401-once":
            if times == 1:
                raise refusal(401, "Unauthorized")
            return 200, {"times": times}
        if name == "rotate":  # as kubelet does while a request is on its way
            if times == 1:
                self.token_file.write_text("token-after-rotation")
                self.accepted.write_text("token-after-rotation\n")
                raise refusal(401, "Unauthorized")
            return 200, {"times": times}
        return self.raw_fault(name, request)

    def raw_fault(self, name, request):
        """Never returns an answer of its own."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        send = request.wfile.write
        if name == "long":
            send(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(5 * 16):
                send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        elif name == "long-declared":
            send(head + b"Content-Length: 5000000\r\n\r\n")
            self.wait_for_end(request.connection)
        elif name == "drip":
            send(head + b"Content-Length: 1000\r\n\r\n")
            for _ in range(1000):
                send(b" ")
                time.sleep(0.1)
        elif name == "silent":
            self.wait_for_end(request.connection)
        elif name == "early":
            send(head + b"Content-Length: 100\r\n\r\n{\"a\"")
        elif name == "moved":
            send(b"HTTP/1.1 302 Found\r\nLocation: /fault/echo\r\nContent-Length: 0\r\n\r\n")
        raise ConnectionError


def main():
    directory = pathlib.Path(sys.argv[1])
    objects = directory / "objects.json"
    api = KubeApi(directory, json.loads(objects.read_text()) if objects.exists() else {})
    print(api.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
