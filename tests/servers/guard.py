"""A checking proxy in front of a store that does not check, or not all: it demands what its rule demands, answers refusals as the
vendor does, and passes everything else on as it came (target, Host and headers unchanged, so that signatures hold; bodies streamed).

    guard = Guard(upstream_port, GoogleBearer(tokens, rights={"alice@p.test": {"bucket-a"}}), tls=(certificate, key))
    guard.url("/")             # what the class's endpoint is
    guard.requests(principal="alice@p.test")     # dicts, oldest first: method, path, target, principal, status, sent, range, store
    guard.count(refused=False)  # how many reached the store behind it
    with guard.is_down(): ...   # refuses connections; up again after the block

A rule has principal_of(request) -> who asks, and refuse(request, principal) -> None or an Answer of credential_service. Rights are
dicts that a test may change meanwhile. request has method, target, path, query (dict), headers (lower case).
"""

import http.client
import http.server
import json
import re
import ssl
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

from credential_service import Answer
from listener import Listener

HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization", "proxy-connection"}
BLOCK = 256 * 1024


class Anyone:
    """No rule: counts and can be down."""

    def principal_of(self, request):
        return "anyone"

    def refuse(self, request, principal):
        return None


def xml_error(status, code, message, extra=""):
    """As S3 and the XML API of Google word it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message>{extra}<RequestId>GUARD</RequestId></Error>'
    return Answer(status, body, "application/xml")


class AwsKeys:
    """Demands nothing; says by whose access key each request is signed."""

    @staticmethod
    def access_key(request):
        match = re.search(r"Credential=([^/,\s]+)/", request.headers.get("authorization", ""))
        return match.group(1) if match else request.query.get("X-Amz-Credential", "").split("/")[0]

    def principal_of(self, request):
        return self.access_key(request)

    def refuse(self, request, principal):
        return None


class AwsSession(AwsKeys):
    """Access keys that a token service gave out come with the session token that belongs to them, before its end; others pass, or are
    refused with static=False. A token's details hold access_key. The signature is the store's to check."""

    def __init__(self, tokens, static=True):
        self.tokens, self.static = tokens, static

    @staticmethod
    def session_of(request):
        return request.headers.get("x-amz-security-token") or request.query.get("X-Amz-Security-Token", "")

    def principal_of(self, request):
        token = self.tokens.find(self.session_of(request))
        return token.principal if token else self.access_key(request)

    def refuse(self, request, principal):
        key, session = self.access_key(request), self.session_of(request)
        temporary = any(token.details.get("access_key") == key for token in list(self.tokens.issued.values()))
        if not session:
            if not key:
                return xml_error(403, "AccessDenied", "Access Denied")
            return xml_error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.") \
                if temporary or not self.static else None
        token = self.tokens.find(session)
        if not token or token.details.get("access_key") != key:
            return xml_error(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        signed = re.search(r"SignedHeaders=([^,\s]+)", request.headers.get("authorization", ""))
        if signed and "x-amz-security-token" not in signed.group(1).split(";"):
            return xml_error(403, "AccessDenied", "There were headers present in the request which were not signed")
        if token.over:
            return xml_error(400, "ExpiredToken", "The provided token has expired.")
        return None


class Bearer:
    """Authorization: Bearer <token> among the tokens issued, not over, whose principal has a right to the place asked for."""

    def __init__(self, tokens, rights, public=()):
        """rights: {principal: {place}}; public: places that anybody may read without a token. A place: see place_of."""
        self.tokens, self.rights, self.public = tokens, rights, set(public)

    def token_of(self, request):
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return self.tokens.find(value) if scheme.lower() == "bearer" else None

    def principal_of(self, request):
        token = self.token_of(request)
        return token.principal if token else ""

    def refuse(self, request, principal):
        place, token = self.place_of(request.path), self.token_of(request)
        if "authorization" not in request.headers:
            return None if place in self.public else self.anonymous(request)
        if not token or token.over:
            return self.invalid(request)
        return None if place in self.rights.get(principal, ()) else self.forbidden(request, principal)


class GoogleBearer(Bearer):
    """Places are buckets. JSON API and XML API of Google Cloud Storage."""
    JSON_API = re.compile(r"/(?:upload/|download/)?storage/v1/b/([^/?]+)(?:/.*)?")

    def place_of(self, path):
        match = self.JSON_API.fullmatch(path)
        return urllib.parse.unquote(match.group(1) if match else path.split("/")[1])

    def error(self, request, status, reason, code, message):
        if not self.JSON_API.fullmatch(request.path):
            return xml_error(status, code, message)
        detail = {"message": message, "domain": "global", "reason": reason}
        if status == 401:
            detail.update(locationType="header", location="Authorization")
        answer = Answer(status, {"error": {"code": status, "message": message, "errors": [detail]}}, "application/json; charset=UTF-8")
        if status == 401:
            answer.headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/"'
        return answer

    def anonymous(self, request):
        return self.error(request, 401, "required", "AccessDenied", "Anonymous caller does not have storage.objects.get access to the Google Cloud "
                          "Storage object. Permission 'storage.objects.get' denied on resource (or it may not exist).")

    def invalid(self, request):
        return self.error(request, 401, "authError", "AuthenticationRequired", "Invalid Credentials")

    def forbidden(self, request, principal):
        return self.error(request, 403, "forbidden", "AccessDenied", f"{principal} does not have storage.objects.get access to the Google Cloud "
                          "Storage object. Permission 'storage.objects.get' denied on resource (or it may not exist).")


class AzureBearer(Bearer):
    """Places are account/container. What comes without a bearer token (SharedKey, SAS, nothing) passes: azurite checks that itself."""

    def place_of(self, path):
        return "/".join(path.split("/")[1:3])

    def refuse(self, request, principal):
        if not request.headers.get("authorization", "").lower().startswith("bearer "):
            return None
        version = request.headers.get("x-ms-version", "")
        if version < "2017-11-09":
            return self.error(400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format.")
        return super().refuse(request, principal)

    @staticmethod
    def error(status, code, message):
        body = f'\ufeff<?xml version="1.0" encoding="utf-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
        return Answer(status, body.encode(), "application/xml", {"x-ms-error-code": code})

    def invalid(self, request):
        return self.error(401, "InvalidAuthenticationInfo", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.")

    def forbidden(self, request, principal):
        return self.error(403, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.")


class WebBearer(Bearer):
    """An ordinary web server. Places are the first segments of paths."""

    def place_of(self, path):
        return path.split("/")[1]

    def anonymous(self, request):
        return Answer(401, "who are you?\n", "text/plain", {"WWW-Authenticate": 'Bearer realm="files"'})

    def invalid(self, request):
        return Answer(401, "not any more\n", "text/plain", {"WWW-Authenticate": 'Bearer realm="files", error="invalid_token"'})

    def forbidden(self, request, principal):
        return Answer(403, "not for you\n", "text/plain")


class Seen:
    def __init__(self, method, target, headers):
        self.method, self.target = method, target
        self.path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.headers = {name.lower(): value for name, value in headers}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120

    def setup(self):
        super().setup()
        self.upstream = None

    def finish(self):
        if self.upstream:
            self.upstream.close()
        super().finish()

    def log_message(self, *_):
        pass

    def serve(self):
        guard = self.server.owner
        request = Seen(self.command, self.path, self.headers.items())
        principal = guard.rule.principal_of(request)
        record = {"method": request.method, "path": request.path, "target": request.target, "principal": principal, "status": 0, "sent": 0,
                  "range": request.headers.get("range"), "time": time.monotonic(), "store": False}
        guard.remember(record)
        answer = guard.fault(request) or guard.rule.refuse(request, principal)
        if answer:
            self.discard_body()
            self.send_answer(record, answer)
        else:
            self.forward(guard, record)

    def discard_body(self):
        left = int(self.headers.get("content-length") or 0)
        while left > 0:
            left -= len(self.rfile.read(min(left, BLOCK))) or left

    def send_answer(self, record, answer):
        record.update(status=answer.status)
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def forward(self, guard, record):
        record.update(store=True)
        reply = self.ask(guard)
        record.update(status=reply.status)
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        has_body = self.command != "HEAD" and reply.status not in (204, 304) and reply.status >= 200
        chunked = has_body and reply.getheader("content-length") is None
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while block := reply.read(BLOCK) if has_body else b"":
            # Counted first: whoever has read the last byte may look at the count at once.
            record["sent"] += len(block)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        if not has_body:
            reply.read()
        if reply.will_close:
            self.upstream.close()
            self.upstream = None

    def ask(self, guard):
        """A connection of the store that has gone idle is made anew."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        for last in (self.upstream is None, True):
            self.upstream = self.upstream or guard.connect()
            try:
                self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in HOP:
                        self.upstream.putheader(name, value)
                self.upstream.endheaders(body or None)
                return self.upstream.getresponse()
            except (OSError, http.client.HTTPException):
                self.upstream.close()
                self.upstream = None
                if last:
                    raise
        raise AssertionError("not reached")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = do_PATCH = serve


class Guard(Listener):
    def __init__(self, upstream_port, rule=None, tls=None, upstream_ca=None):
        """upstream_ca: the store speaks TLS, too, as localhost."""
        self.upstream_port, self.rule = upstream_port, rule or Anyone()
        self.upstream_context = upstream_ca and ssl.create_default_context(cafile=upstream_ca)
        self.lock, self.records, self.faults = threading.Lock(), [], []
        super().__init__(Handler, tls)

    def connect(self):
        if self.upstream_context:
            return http.client.HTTPSConnection("localhost", self.upstream_port, timeout=120, context=self.upstream_context)
        return http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=120)

    def remember(self, record):
        with self.lock:
            self.records.append(record)

    def requests(self, principal=None, path=None, refused=None):
        """refused: True for what the store was not asked, False for what it was."""
        with self.lock:
            return [record for record in self.records if principal in (None, record["principal"]) and path in (None, record["path"])
                    and refused in (None, not record["store"])]

    def count(self, principal=None, path=None, refused=None):
        return len(self.requests(principal, path, refused))

    def body_bytes(self, path=None):
        return sum(record["sent"] for record in self.requests(path=path))

    def next(self, status, body=b"", content_type="text/plain", headers=None, times=1):
        """So many of the next requests get this answer instead."""
        with self.lock:
            self.faults.extend([Answer(status, body, content_type, headers)] * times)

    def fault(self, _):
        with self.lock:
            return self.faults.pop(0) if self.faults else None


def trace(records):
    """For messages of tests."""
    return json.dumps([{key: record[key] for key in ("method", "target", "principal", "status")} for record in records])
