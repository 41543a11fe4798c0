"""The base of the strict stand-ins for services that give out credentials (AWS STS, IMDS, Google STS, Entra and so on).

A stand-in is a class with a table of routes. What the table does not name is refused with 400 and kept as a complaint, and a
complaint that no test has taken fails the whole run (main.py, `bench complaints`):

    class Sts(Service):
        routes = [
            Route("POST", "/", "assume_role", form={
                "Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": re.compile(r"arn:aws:iam::\\d{12}:role/.+"),
                "RoleSessionName": re.compile(r"[\\w+=,.@-]{2,64}"), "WebIdentityToken": ANY, "DurationSeconds": May(re.compile(r"\\d{3,5}"))},
                headers={"accept": May("application/json")}),
        ]

        def assume_role(self, request):
            try:
                claims = CLUSTER.verify(request.form["WebIdentityToken"], "sts.amazonaws.com")
            except BadToken as error:
                raise Refusal(400, "<ErrorResponse>...</ErrorResponse>", "text/xml") from error
            token = self.tokens.issue(claims["sub"])
            return Answer(200, f"<AssumeRoleWithWebIdentityResponse>...", "text/xml")

    sts = Sts(tls=(certificate, key))      # or plain HTTP; host=, port= where the client leaves no choice
    sts.url("/")                           # https://localhost:PORT/

A spec of a field is a string (equal), a compiled expression (fullmatch), a function (true, or a complaint's text is returned), ANY
(not empty), a dict (of an object: these fields and no others), a list (the specs of its items), or May(spec): may be absent.
Refusals that the protocol foresees (a token that is over) are a Refusal or an Answer and no complaint.

Headers: those every client sends (TRANSPORT) pass, content-type is checked against the body's kind, any other must be declared in
the route or in the class (`headers`, for what a vendor's own client adds). request.form, .json, .query, .groups (of a path that is an
expression), .headers (lower case) hold what came.

Faults on order: sts.next(429, headers={"Retry-After": "1"}), sts.next(500, times=2), sts.next(200, b"no xml"), sts.slow(2), with
sts.held(): ... (requests wait until the block ends), sts.down(), sts.up(). A fault meets the next request that passes the checks.
Life of the next token: sts.tokens.next_lives(5). Seen: sts.count("assume_role"), sts.requests(), sts.peak (most at one time).
"""

import collections
import contextlib
import http.server
import json
import re
import threading
import time
import urllib.parse

from listener import Listener
from tokens import Tokens

ANY = re.compile(r".+", re.S)
TRANSPORT = {"host", "connection", "content-length", "accept", "accept-encoding", "user-agent"}
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
BODY_MAX = 1 << 20


class May:
    """A field that may be absent."""

    def __init__(self, spec=ANY):
        self.spec = spec


def one_of(*values):
    return lambda value: value in values or f"is none of {values}"


class Answer:
    def __init__(self, status, body=b"", content_type=JSON, headers=None):
        self.status, self.content_type, self.headers = status, content_type, headers or {}
        self.body = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()


class Refusal(Exception):
    """What the protocol answers to a request that is well formed and not granted."""

    def __init__(self, status, body=b"", content_type=JSON, headers=None):
        super().__init__(status)
        self.answer = Answer(status, body, content_type, headers)


class Violation(Exception):
    """A request that the published protocol does not have."""


class Route:
    def __init__(self, method, path, name, query=None, headers=None, form=None, json=None):
        self.method, self.path, self.name = method, path, name
        self.query, self.headers, self.form, self.json = query or {}, headers or {}, form, json

    def groups(self, method, path):
        """The path's named groups, or None where this is another route."""
        if method != self.method:
            return None
        if isinstance(self.path, str):
            return {} if path == self.path else None
        match = self.path.fullmatch(path)
        return match and match.groupdict()


class Request:
    """What one client asked."""

    def __init__(self, method, target, headers, body, client):
        self.method, self.target, self.body, self.client = method, target, body, client
        self.path, _, self.query_text = target.partition("?")
        self.headers = {name.lower(): value for name, value in headers}
        self.header_names = [name.lower() for name, _ in headers]
        self.query, self.form, self.json, self.groups, self.route = {}, {}, None, {}, None
        self.started, self.status = time.monotonic(), 0


def check(spec, value, where):
    """Raises Violation, unless the value is as the spec says."""
    if isinstance(spec, May):
        spec = spec.spec
    if isinstance(spec, dict):
        check_fields(spec, value, where)
    elif isinstance(spec, list):
        if not isinstance(value, list) or len(value) != len(spec):
            raise Violation(f"{where}: not a list of {len(spec)}")
        for number, each in enumerate(spec):
            check(each, value[number], f"{where}[{number}]")
    elif callable(spec):
        verdict = spec(value)
        if verdict is not True:
            raise Violation(f"{where}: {verdict or 'refused'}: {str(value)[:120]!r}")
    elif isinstance(spec, re.Pattern):
        if not isinstance(value, str) or not spec.fullmatch(value):
            raise Violation(f"{where}: is not {spec.pattern}: {str(value)[:120]!r}")
    elif value != spec:
        raise Violation(f"{where}: is not {spec!r}: {str(value)[:120]!r}")


def check_fields(specs, fields, where):
    if not isinstance(fields, dict):
        raise Violation(f"{where}: not an object")
    for name in fields:
        if name not in specs:
            raise Violation(f"{where}: unknown field {name!r}")
    for name, spec in specs.items():
        if name in fields:
            check(spec, fields[name], f"{where} {name}")
        elif not isinstance(spec, May):
            raise Violation(f"{where}: {name} is missing")


def parse_pairs(text, where):
    """{name: value} of a query or a form; nothing twice, nothing that is not name=value."""
    fields = {}
    for name, value in urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=True) if text else ():
        if name in fields:
            raise Violation(f"{where}: {name} stands there twice")
        fields[name] = value
    return fields


def check_headers(request, declared, content_type):
    doubled = [name for name, count in collections.Counter(request.header_names).items() if count > 1]
    if doubled:
        raise Violation(f"headers: {doubled} more than once")
    stated = {name: value for name, value in request.headers.items() if name in declared or name not in TRANSPORT | {"content-type"}}
    check_fields(declared, stated, "headers")
    if "content-type" not in declared:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != (content_type or "") and not (content_type is None and not request.body):
            raise Violation(f"headers: content-type is {kind!r}, not {content_type!r}")


def parse_json(body):
    def unique(pairs):
        if len({name for name, _ in pairs}) != len(pairs):
            raise Violation("body: a name stands there twice")
        return dict(pairs)
    try:
        return json.loads(body, object_pairs_hook=unique)
    except ValueError as error:
        raise Violation(f"body: not JSON: {error}") from error


def check_body(request):
    route = request.route
    if route.form is not None:
        try:
            request.form = parse_pairs(request.body.decode("ascii"), "form")
        except ValueError as error:
            raise Violation(f"form: {error}") from error
        check_fields(route.form, request.form, "form")
    elif route.json is not None:
        request.json = parse_json(request.body)
        check(route.json, request.json, "body")
    elif request.body:
        raise Violation(f"a body of {len(request.body)} bytes")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, *_):
        pass

    def read_body(self):
        if self.headers.get("transfer-encoding"):
            raise Violation("headers: a transfer-encoding")
        text = self.headers.get("content-length", "0")
        if not text.isdigit() or int(text) > BODY_MAX:
            raise Violation(f"headers: content-length {text!r}")
        return self.rfile.read(int(text))

    def serve(self):
        service = self.server.owner
        request = Request(self.command, self.path, self.headers.items(), b"", self.client_address)
        with service.counted(request):
            try:
                request.body = self.read_body()
                service.check(request)
                answer = service.answer(request)
            except Refusal as refusal:
                answer = refusal.answer
            except Violation as violation:
                answer = service.complain(request, violation)
            request.status = answer.status
        self.send(answer)

    def send(self, answer):
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = serve


class Service(Listener):
    """One stand-in on one port."""
    routes = ()
    headers = {}  # declared for every route
    hosts = ()  # further names that Host may say, such as the vendor's own
    everyone = []

    def __init__(self, tls=None, host="127.0.0.1", port=0, tokens=None):
        """tls: (certificate, key) files, for localhost or the vendor's name."""
        self.tokens = tokens or Tokens()
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()
        self.complaints, self.faults, self.seen = [], collections.deque(), []
        self.in_flight = self.peak = 0
        Service.everyone.append(self)
        super().__init__(Handler, tls, host, port)

    @contextlib.contextmanager
    def counted(self, request):
        with self.lock:
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
            self.seen.append(request)
        try:
            yield
        finally:
            with self.lock:
                self.in_flight -= 1

    def check(self, request):
        for route in self.routes:
            groups = route.groups(request.method, request.path)
            if groups is not None:
                request.route, request.groups = route, groups
                break
        else:
            raise Violation("no such route")
        self.check_host(request)
        content_type = FORM if request.route.form is not None else JSON if request.route.json is not None else None
        check_headers(request, {**self.headers, **request.route.headers}, content_type)
        try:
            request.query = parse_pairs(request.query_text, "query")
        except ValueError as error:
            raise Violation(f"query: {error}") from error
        check_fields(request.route.query, request.query, "query")
        check_body(request)

    def check_host(self, request):
        shown = f"[{self.host}]" if ":" in self.host else self.host
        good = {f"{name}:{self.port}" for name in ("localhost", shown)} | set(self.hosts)
        if self.port in (80, 443):
            good |= {"localhost", shown}
        if request.headers.get("host") not in good:
            raise Violation(f"headers: host is {request.headers.get('host')!r}")

    def complain(self, request, violation):
        text = f"{type(self).__name__}: {request.method} {request.path}: {violation}"
        with self.lock:
            self.complaints.append(text)
        return Answer(400, f"stand-in: {violation}\n", "text/plain")

    def take_complaints(self):
        """For a test that makes some on purpose."""
        with self.lock:
            taken, self.complaints = self.complaints, []
        return taken

    def answer(self, request):
        self.gate.wait(60)
        with self.lock:
            fault = self.faults.popleft() if self.faults else None
        answer = fault(request) if fault else None
        return answer or getattr(self, request.route.name)(request)

    def next(self, status, body=b"", content_type="text/plain", headers=None, times=1):
        """So many of the next requests get this answer."""
        with self.lock:
            self.faults.extend([lambda _: Answer(status, body, content_type, headers)] * times)

    def slow(self, seconds, times=1):
        """So many of the next answers take so long."""
        with self.lock:
            self.faults.extend([lambda _: time.sleep(seconds)] * times)

    @contextlib.contextmanager
    def held(self):
        """Requests get no answer while the block runs: for seeing how many come at one time."""
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()

    def requests(self, name=None):
        """What passed the checks so far (of one route)."""
        with self.lock:
            return [request for request in self.seen if request.route and name in (None, request.route.name)]

    def count(self, name=None):
        return len(self.requests(name))
