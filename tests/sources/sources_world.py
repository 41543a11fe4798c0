"""The world of this suite: the integration suite's, and each further server when a test first asks for it."""

import functools
import os
import threading

import azurite
import gcs
import guard
import harness
import s3_accounts
from nginx import free_port
from tokens import Cluster
from world import World


class SourcesWorld(World):
    def __init__(self):
        address = f"127.0.0.1:{free_port()}"
        self.node_args, self.http_url = ("--http-endpoint", address), f"http://{address}"
        super().__init__()
        self.lock, self.servers = threading.RLock(), []

    @property
    def tls(self):
        """(certificate, key) for localhost and 127.0.0.1, by the CA in self.nginx.ca."""
        return tuple(str(self.nginx.dir / "tls" / f"good.{kind}") for kind in ("crt", "key"))

    @functools.cached_property
    def cluster(self):
        """Signs the tokens of service accounts."""
        return Cluster()

    @functools.cached_property
    def versity(self):
        return self.kept(s3_accounts.Versity(harness.WORK / "versity"))

    @functools.cached_property
    def minio(self):
        return self.kept(s3_accounts.MinIO(harness.WORK / "minio"))

    @functools.cached_property
    def gcs(self):
        return self.kept(gcs.FakeGcs(harness.WORK / "gcs"))

    @functools.cached_property
    def azurite(self):
        return self.kept(azurite.Azurite(harness.WORK / "azurite", self.tls, os.environ["SC_CACHE"]))

    def guard(self, upstream_port, rule=None, tls=False, upstream_tls=False):
        return self.kept(guard.Guard(upstream_port, rule, self.tls if tls else None, self.nginx.ca if upstream_tls else None))

    def add_class(self, name, **parameters):
        """A class of the node that all tests share; loopback is allowed and the test CA trusted."""
        self.node.add_class(name, {**harness.LOOPBACK, "caBundle": str(self.nginx.ca), **parameters})
        return name

    def kept(self, server):
        self.servers.append(server)
        return server

    def stop(self):
        for server in self.servers:
            server.stop()
        super().stop()
