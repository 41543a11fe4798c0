"""An S3 server with one bucket of many objects that exist only as a function of their number: lists 200,000 keys in pages and serves
each, quickly, in a process of its own. It verifies each signature (AWS's "Signature Version 4" pages) and refuses what it does not know.

    bulk = BulkS3(directory, count=200000)           # bucket "bulk"; boto3 works with bulk.endpoint, .access, .secret
    bulk.key(7), bulk.content(7)                      # data/000/0007-1.bin: directories of 1,000, and a last digit of three
    bulk.stats()                                      # {"list": .., "get": .., "head": .., "refused": .., "bytes": .., "complaints": [..]}
    bulk.touch(7)                                     # from now on another version of this object

ListObjectsV2 with prefix, delimiter, start-after, continuation-token, max-keys, encoding-type; GET and HEAD with Range and If-Match.
"""

import asyncio
import base64
import bisect
import datetime
import hashlib
import hmac
import http.client
import json
import re
import subprocess
import sys
import time
import urllib.parse
from xml.sax.saxutils import escape

import canaries
from nginx import free_port, wait_for_port

BUCKET, REGION, KEYS_MAX = "bulk", "us-east-1", 1000
MODIFIED = 1767225600  # 2026-01-01
SKEW_SECONDS = 900
LIST_FIELDS = {"list-type", "prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type", "fetch-owner"}


def key_of(number):
    return f"data/{number // 1000:03d}/{number % 1000:04d}-{number % 3}.bin"


def content_of(number, version=0):
    return f"{key_of(number)} version {version}\n".encode() * (1 + number % 3)


def etag_of(number, version=0):
    return f'"{hashlib.md5(content_of(number, version)).hexdigest()}"'


def encode(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


class Refused(Exception):
    def __init__(self, status, code, message=""):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class Signatures:
    """Says whether a request is signed by the one account there is."""
    FORM = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})")

    def __init__(self, access, secret):
        self.access, self.secret, self.keys = access, secret, {}

    def key(self, date):
        if date not in self.keys:
            key = ("AWS4" + self.secret).encode()
            for part in (date, REGION, "s3", "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self.keys[date] = key
        return self.keys[date]

    def check(self, method, path, query, headers):
        """path is decoded, query a list of decoded pairs."""
        if "authorization" not in headers:
            raise Refused(403, "AccessDenied", "Access Denied")
        match = self.FORM.fullmatch(headers["authorization"])
        if not match:
            raise Refused(400, "AuthorizationHeaderMalformed")
        access, date, region, names, signature = match.groups()
        if access != self.access:
            raise Refused(403, "InvalidAccessKeyId")
        if region != REGION:
            raise Refused(400, "AuthorizationHeaderMalformed", f"the region '{region}' is wrong; expecting '{REGION}'")
        self.check_time(headers.get("x-amz-date", ""), date)
        signed = names.split(";")
        unsigned = [name for name in headers if (name.startswith("x-amz-") or name == "host") and name not in signed]
        if unsigned or signed != sorted(signed) or any(name not in headers for name in signed):
            raise Refused(403, "AccessDenied", "There were headers present in the request which were not signed")
        digest = headers.get("x-amz-content-sha256", "")
        if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(b"").hexdigest()):
            raise Refused(400, "XAmzContentSHA256Mismatch")
        pairs = "&".join(f"{name}={value}" for name, value in sorted((encode(name), encode(value)) for name, value in query))
        canonical = "\n".join([method, encode(path, "/"), pairs, *(f"{name}:{' '.join(headers[name].split())}" for name in signed), "", names, digest])
        text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{date}/{region}/s3/aws4_request\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        if not hmac.compare_digest(hmac.new(self.key(date), text.encode(), hashlib.sha256).hexdigest(), signature):
            raise Refused(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")

    @staticmethod
    def check_time(stamp, date):
        try:
            when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
        except ValueError as error:
            raise Refused(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from error
        if abs(when - time.time()) > SKEW_SECONDS or not stamp.startswith(date):
            raise Refused(403, "RequestTimeTooSkewed")


class Bucket:
    def __init__(self, count):
        self.keys = [key_of(number) for number in range(count)]
        assert self.keys == sorted(self.keys)
        self.versions, self.token_key = {}, hashlib.sha256(str(time.time()).encode()).digest()
        self.stats = {"list": 0, "get": 0, "head": 0, "refused": 0, "bytes": 0, "complaints": []}

    def find(self, key):
        index = bisect.bisect_left(self.keys, key)
        if index == len(self.keys) or self.keys[index] != key:
            raise Refused(404, "NoSuchKey")
        return index

    def token(self, marker):
        proof = hmac.new(self.token_key, marker.encode(), hashlib.sha256).digest()[:12]
        return base64.urlsafe_b64encode(proof + marker.encode()).decode()

    def marker(self, token):
        try:
            data = base64.urlsafe_b64decode(token)
            marker = data[12:].decode()
        except ValueError:
            marker = ""
        if not marker or self.token(marker) != token:
            raise Refused(400, "InvalidArgument", "The continuation token provided is incorrect")
        return marker

    def entries(self, prefix, delimiter, after, limit):
        """([numbers or common prefixes], whether there are more); after: what comes later than this."""
        found, index = [], bisect.bisect_right(self.keys, after) if after >= prefix else bisect.bisect_left(self.keys, prefix)
        while index < len(self.keys) and self.keys[index].startswith(prefix):
            end = self.keys[index].find(delimiter, len(prefix)) if delimiter else -1
            common = self.keys[index][:end + len(delimiter)] if end >= 0 else None
            following = bisect.bisect_left(self.keys, common + "\U0010ffff") if common else index + 1
            if not common or common > after:
                if len(found) == limit:
                    return found, True
                found.append(common if common else index)
            index = following
        return found, False

    def listing(self, query):
        fields = dict(query)
        unknown = set(fields) - LIST_FIELDS
        if unknown or len(fields) != len(query) or fields.get("list-type") != "2" or fields.get("encoding-type", "url") != "url":
            raise Refused(400, "InvalidArgument", f"this server does not know {sorted(unknown) or 'such a listing'}")
        limit = fields.get("max-keys", "1000")
        if not limit.isdigit():
            raise Refused(400, "InvalidArgument", "max-keys")
        prefix, delimiter, token = fields.get("prefix", ""), fields.get("delimiter", ""), fields.get("continuation-token")
        after = self.marker(token) if token is not None else fields.get("start-after", "")
        found, more = self.entries(prefix, delimiter, after, min(int(limit), KEYS_MAX))
        self.stats["list"] += 1
        shown = (lambda text: encode(text, "/")) if "encoding-type" in fields else escape
        return self.document(fields, found, more, shown)

    def document(self, fields, found, more, shown):
        last = found[-1] if found else ""
        last = self.keys[last] if isinstance(last, int) else last
        parts = ['<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
                 f"<Name>{BUCKET}</Name><Prefix>{shown(fields.get('prefix', ''))}</Prefix><KeyCount>{len(found)}</KeyCount>",
                 f"<MaxKeys>{fields.get('max-keys', '1000')}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"]
        parts += [f"<{name}>{shown(fields[field])}</{name}>" for name, field in (
            ("Delimiter", "delimiter"), ("StartAfter", "start-after"), ("ContinuationToken", "continuation-token"), ("EncodingType", "encoding-type"))
            if field in fields]
        if more:
            parts.append(f"<NextContinuationToken>{self.token(last)}</NextContinuationToken>")
        parts += [self.contents(each, shown) for each in found if isinstance(each, int)]
        parts += [f"<CommonPrefixes><Prefix>{shown(each)}</Prefix></CommonPrefixes>" for each in found if not isinstance(each, int)]
        return "".join([*parts, "</ListBucketResult>"]).encode()

    def contents(self, number, shown):
        version = self.versions.get(number, 0)
        return (f"<Contents><Key>{shown(self.keys[number])}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{escape(etag_of(number, version))}</ETag>"
                f"<Size>{len(content_of(number, version))}</Size><StorageClass>STANDARD</StorageClass></Contents>")

    def object(self, method, key, headers):
        """(status, headers, body)"""
        number = self.find(key)
        version = self.versions.get(number, 0)
        body, etag = content_of(number, version), etag_of(number, version)
        if headers.get("if-match", etag) not in (etag, "*"):
            raise Refused(412, "PreconditionFailed")
        self.stats[method.lower()] += 1
        common = [("ETag", etag), ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"), ("Accept-Ranges", "bytes"), ("Content-Type", "binary/octet-stream")]
        if "range" not in headers:
            return 200, common, body
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", headers["range"])
        if not match or int(match.group(1)) >= len(body):
            raise Refused(416, "InvalidRange")
        first, last = int(match.group(1)), min(int(match.group(2) or len(body)), len(body) - 1)
        return 206, [*common, ("Content-Range", f"bytes {first}-{last}/{len(body)}")], body[first:last + 1]

    def control(self, path):
        """Paths of the test's own, unsigned."""
        if path.startswith("/-/touch/"):
            number = int(path.rsplit("/", 1)[1])
            self.versions[number] = self.versions.get(number, 0) + 1
        if path == "/-/reset":
            self.stats.update({"list": 0, "get": 0, "head": 0, "refused": 0, "bytes": 0, "complaints": []})
        return 200, [("Content-Type", "application/json")], json.dumps(self.stats).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; requests have no body."""

    def __init__(self, bucket, signatures):
        self.bucket, self.signatures, self.buffer = bucket, signatures, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            line, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = line.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            self.answer(method, target, headers)

    def answer(self, method, target, headers):
        raw_path, _, raw_query = target.partition("?")
        path = urllib.parse.unquote(raw_path)
        try:
            query = [tuple(urllib.parse.unquote(part) for part in pair.partition("=")[::2]) for pair in raw_query.split("&") if pair]
            status, more, body = self.bucket.control(path) if path.startswith("/-/") else self.serve(method, path, query, headers)
        except Refused as refused:
            status, more = refused.status, [("Content-Type", "application/xml")]
            body = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{refused.code}</Code><Message>{escape(refused.message or refused.code)}</Message>'
                    f"<RequestId>BULK</RequestId></Error>").encode()
            self.bucket.stats["refused"] += 1
            if refused.code in ("InvalidArgument", "MethodNotAllowed", "NotImplemented"):
                self.bucket.stats["complaints"].append(f"{method} {target}: {refused.message}")
        if not path.startswith("/-/"):
            self.bucket.stats["bytes"] += len(body)
        lines = [f"HTTP/1.1 {status} Thing", f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in more), "", ""]
        self.transport.write("\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else body))

    def serve(self, method, path, query, headers):
        if method not in ("GET", "HEAD") or headers.get("content-length", "0") != "0":
            raise Refused(405, "MethodNotAllowed", "only GET and HEAD")
        self.signatures.check(method, path, query, headers)
        _, bucket, *rest = path.split("/", 2)
        if bucket != BUCKET:
            raise Refused(404, "NoSuchBucket")
        if not rest or not rest[0]:
            if method == "HEAD":
                return 200, [("x-amz-bucket-region", REGION)], b""
            return 200, [("Content-Type", "application/xml")], self.bucket.listing(query)
        if [pair for pair in query if pair != ("x-id", "GetObject")]:
            raise Refused(501, "NotImplemented", f"query {query}")
        return self.bucket.object(method, rest[0], headers)


class BulkS3:
    """The server as a child process."""
    key, content, bucket = staticmethod(key_of), staticmethod(content_of), BUCKET

    def __init__(self, directory, count=200000):
        directory.mkdir(parents=True, exist_ok=True)
        self.count, self.port, self.access = count, free_port(), "BULKACCESSKEY000"
        self.secret = canaries.make("aws-secret-key", "/+=")
        with open(directory / "bulk_s3.log", "ab") as log:
            self.process = subprocess.Popen([sys.executable, __file__, str(self.port), str(count)], stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.process.stdin.write(f"{self.access}\n{self.secret}\n".encode())
        self.process.stdin.flush()
        wait_for_port(self.port, self.process, "bulk_s3")

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def pod_secret(self):
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret}

    def control(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        reply = json.loads(connection.getresponse().read())
        connection.close()
        return reply

    def stats(self):
        return self.control("/-/stats")

    def reset(self):
        return self.control("/-/reset")

    def touch(self, number):
        return self.control(f"/-/touch/{number}")

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)


async def serve(port, count, access, secret):
    loop = asyncio.get_running_loop()
    bucket, signatures, ended = Bucket(count), Signatures(access, secret), asyncio.Event()
    server = await loop.create_server(lambda: Connection(bucket, signatures), "127.0.0.1", port, backlog=512)
    await loop.connect_read_pipe(lambda: Ended(ended), sys.stdin)
    await ended.wait()
    server.close()


class Ended(asyncio.Protocol):
    """The test's end of the pipe was closed."""

    def __init__(self, event):
        self.event = event

    def connection_lost(self, exc):
        self.event.set()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.readline().strip(), sys.stdin.readline().strip()))
