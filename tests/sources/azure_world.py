"""What the tests of Azure share: azurite behind a guard, Entra, the metadata service, and classes that point to them."""

import functools
import logging
import urllib.parse

import azure_entra
import azure_metadata
import canaries
import guard
import harness
from azure_entra import TENANT, App

ACCOUNT, OTHER = "acmeaccount", "otheraccount"
READER = "aaaaaaaa-0000-4000-8000-000000000001"  # workload identity of team-a/default, may read
STRANGER = "aaaaaaaa-0000-4000-8000-000000000002"  # workload identity of team-a/default, without any role
CLIENT = "aaaaaaaa-0000-4000-8000-000000000003"  # has a secret, may read
NODE = "aaaaaaaa-0000-4000-8000-000000000004"  # managed identity of the node, may read
logging.getLogger("azure").setLevel(logging.CRITICAL)  # it would tell of each refusal that a test wants
SUBJECT = "system:serviceaccount:team-a:default"
CONTAINER = "data"


def url(name, container=CONTAINER, account=ACCOUNT):
    return f"az://{account}/{container}/{urllib.parse.quote(name.encode(), safe='/')}"


class AzureWorld:
    def __init__(self, world):
        self.world, self.azurite = world, world.azurite
        self.client_secret = canaries.make("azure-client-secret", "~/+=&")
        self.entra = world.kept(azure_entra.Entra(world.cluster, tls=world.tls))
        issuer = world.cluster.issuer
        self.entra.apps.update({READER: App(federated={(issuer, SUBJECT)}), STRANGER: App(federated={(issuer, SUBJECT)}),
                                CLIENT: App(secret=self.client_secret)})
        self.metadata = world.kept(azure_metadata.Metadata(self.entra.tokens))
        self.metadata.identities = {None: NODE, NODE: NODE}
        self.rights = {who: {f"{ACCOUNT}/{CONTAINER}"} for who in (READER, CLIENT, NODE)}
        self.guard = world.guard(self.azurite.port, guard.AzureBearer(self.entra.tokens, self.rights), tls=True, upstream_tls=True)
        with self.service() as service:
            service.create_container(CONTAINER)
        self.add_class("azure")
        self.add_class("azure-reader", azureClientId=READER)
        self.add_class("azure-stranger", azureClientId=STRANGER)
        self.add_class("azure-node", nodeIdentity="true")

    def add_class(self, name, **parameters):
        return self.world.add_class(name, **{
            "azureEndpoint": self.guard.url().rstrip("/"), "azureAuthority": self.entra.authority, "azureTenantId": TENANT,
            "azureMetadataEndpoint": self.metadata.url("").rstrip("/"), **parameters})

    def service(self, account=ACCOUNT):
        """Microsoft's client with the account's key, on a connection of its own: azurite ends those that idle."""
        return self.azurite.client(account, ca=self.world.nginx.ca)

    def put(self, name, body, container=CONTAINER, **options):
        """Returns its URL."""
        with self.service() as service:
            service.get_blob_client(container, name).upload_blob(body, overwrite=True, **options)
        return url(name, container)

    @property
    def key_secret(self):
        return {"azurestorageaccountname": ACCOUNT, "azurestorageaccountkey": self.azurite.keys[ACCOUNT]}

    @property
    def client_secrets(self):
        return {"AZURE_CLIENT_ID": CLIENT, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_SECRET": self.client_secret}

    def tokens(self, account="default", audience=azure_entra.AUDIENCE, seconds=3600):
        """Of the pod's service account, as kubelet hands them over."""
        return self.world.cluster.pod_tokens("team-a", account, [audience], seconds)


@functools.cache
def made(world):
    return AzureWorld(world)


def azure_world(world):
    with world.lock:
        return made(world)


class AzurePod(harness.Pod):
    """A pod that may have tokens of its service account."""
    tokens = None
    account = "default"

    def context(self, attributes):
        context = super().context(attributes)
        context["csi.storage.k8s.io/serviceAccount.name"] = self.account
        if self.tokens:
            context["csi.storage.k8s.io/serviceAccount.tokens"] = self.tokens
        return context


def pod(azure, tokens=None, account="default", name="azure"):
    made_pod = AzurePod(azure.world.node, name)
    made_pod.tokens, made_pod.account = tokens, account
    return made_pod
