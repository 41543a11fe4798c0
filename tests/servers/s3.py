"""A real S3 server that verifies every signature (versitygw on a directory), and a client with a signer of its own to fill
it: written from AWS's "Signature Version 4" pages, independent of the one under test."""

import datetime
import hashlib
import hmac
import http.client
import os
import pathlib
import shutil
import urllib.parse

from nginx import free_port, start_server, stop_server, wait_for_port

ACCESS_KEY = "TESTACCESSKEY"
SECRET_KEY = "test/secret+key=with/odd+characters"
REGION = "us-east-1"


def encode(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


def sign(method, host, path, query, body, when=None):
    """The headers of a signed request; path is encoded, query a sorted list of pairs."""
    when = when or datetime.datetime.now(datetime.timezone.utc)
    stamp, date = when.strftime("%Y%m%dT%H%M%SZ"), when.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    canonical = "\n".join([method, path, "&".join(f"{encode(k)}={encode(v)}" for k, v in query),
                           *(f"{key}:{headers[key]}" for key in sorted(headers)), "", names, digest])
    scope = f"{date}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET_KEY).encode()
    for part in (date, REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers


class VersityGateway:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        (self.dir / "data").mkdir(parents=True)
        self.port = free_port()
        binary = shutil.which("versitygw")
        if not binary:
            raise RuntimeError("versitygw is missing: hack/setup test")
        environment = dict(os.environ, ROOT_ACCESS_KEY=ACCESS_KEY, ROOT_SECRET_KEY=SECRET_KEY)
        command = [binary, "--port", f"127.0.0.1:{self.port}", "--region", REGION, "posix", str(self.dir / "data")]
        self.process = start_server(command, self.dir / "versitygw.log", env=environment)
        wait_for_port(self.port, self.process, "versitygw")

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def request(self, method, path, query=(), body=b""):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        encoded = encode(path, "/")
        headers = sign(method, f"127.0.0.1:{self.port}", encoded, sorted(query), body)
        suffix = "?" + "&".join(f"{encode(k)}={encode(v)}" for k, v in sorted(query)) if query else ""
        connection.request(method, encoded + suffix, body=body or None, headers=headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, dict(response.getheaders()), data

    def make_bucket(self, bucket):
        status, _, data = self.request("PUT", f"/{bucket}")
        if status != 200:
            raise RuntimeError(f"make bucket: {status} {data[:300]}")

    def put(self, bucket, key, body):
        status, headers, data = self.request("PUT", f"/{bucket}/{key}", body=body)
        if status != 200:
            raise RuntimeError(f"put {key}: {status} {data[:300]}")
        return headers

    def stop(self):
        stop_server(self.process)
