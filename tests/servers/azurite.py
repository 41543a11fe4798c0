"""azurite, Microsoft's own emulator of Azure Blob Storage, over HTTPS. It checks SharedKey and SAS; of bearer tokens only audience, issuer
and times: put a guard with AzureBearer in front. Two accounts, so that what one may does not follow for the other."""

import base64
import os
import pathlib
import secrets
import shutil

import canaries
from nginx import free_port, start_server, stop_server, wait_for_port

ACCOUNTS = ("acmeaccount", "otheraccount")
# What azurite demands of a bearer token's claims.
AUDIENCE, ISSUER = "https://storage.azure.com", "https://sts.windows.net/"


class Azurite:
    def __init__(self, directory, tls, cache):
        """tls: (certificate, key) files for localhost; cache: where hack/setup has installed it."""
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        self.port, self.tls = free_port(), tls
        self.keys = {name: base64.b64encode(secrets.token_bytes(64)).decode() for name in ACCOUNTS}
        for key in self.keys.values():
            canaries.add("azure-account-key", key)
        main = pathlib.Path(cache) / "azurite/node_modules/azurite/dist/src/blob/main.js"
        command = [shutil.which("node"), str(main), "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.dir),
                   "--oauth", "basic", "--cert", tls[0], "--key", tls[1], "--disableTelemetry", "--skipApiVersionCheck", "--blobKeepAliveTimeout", "60"]
        environment = {**os.environ, "AZURITE_ACCOUNTS": ";".join(f"{name}:{key}" for name, key in self.keys.items())}
        self.process = start_server(command, self.dir / "azurite.log", env=environment, cwd=self.dir)
        wait_for_port(self.port, self.process, "azurite")

    def endpoint(self, account, port=None):
        return f"https://localhost:{port or self.port}/{account}"

    def client(self, account=ACCOUNTS[0], port=None, ca=None, credential=None):
        """azure-storage-blob, Microsoft's own client; with the account's key unless another credential is given."""
        from azure.storage.blob import BlobServiceClient
        return BlobServiceClient(self.endpoint(account, port), credential=credential or {"account_name": account, "account_key": self.keys[account]},
                                 connection_verify=str(ca), retry_total=0)

    def stop(self):
        stop_server(self.process)
