"""fake-gcs-server: Google Cloud Storage's JSON and XML APIs on loopback, in memory. It checks no credentials: put a guard in front."""

import http.client
import json
import pathlib
import shutil
import urllib.parse

from nginx import free_port, start_server, stop_server, wait_for_port


class FakeGcs:
    def __init__(self, directory):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True)
        self.port = free_port()
        command = [shutil.which("fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-backend", "memory",
                   "-public-host", "127.0.0.1", "-log-level", "warn"]
        self.process = start_server(command, directory / "fake-gcs-server.log")
        wait_for_port(self.port, self.process, "fake-gcs-server")

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def request(self, method, target, body=b"", headers=None):
        """(status, headers, body) of a request that goes to the server itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, target, body=body or None, headers=headers or {})
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        return reply.status, dict(reply.getheaders()), data

    def ask(self, method, target, body=b"", headers=None):
        status, _, data = self.request(method, target, body, headers)
        if status not in (200, 204):
            raise RuntimeError(f"fake-gcs-server: {method} {target}: {status} {data[:300]}")
        return json.loads(data) if data else None

    def make_bucket(self, bucket, versions=False):
        document = {"name": bucket, "versioning": {"enabled": versions}}
        return self.ask("POST", "/storage/v1/b?project=test", json.dumps(document).encode(), {"Content-Type": "application/json"})

    def put(self, bucket, key, body, content_type="application/octet-stream", **metadata):
        """Returns the object's resource: generation, crc32c, md5Hash. Metadata such as contentEncoding or storageClass."""
        boundary = "part-of-an-object"
        resource = json.dumps({"name": key, "contentType": content_type, **metadata}).encode()
        parts = b"".join(b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (boundary.encode(), kind, data)
                         for kind, data in ((b"application/json; charset=UTF-8", resource), (content_type.encode(), body)))
        return self.ask("POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={urllib.parse.quote(key, safe='')}",
                        parts + b"--%s--\r\n" % boundary.encode(), {"Content-Type": f"multipart/related; boundary={boundary}"})

    def delete(self, bucket, key):
        return self.ask("DELETE", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(key, safe='')}")

    def stop(self):
        stop_server(self.process)
