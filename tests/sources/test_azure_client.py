"""The stand-ins for Microsoft Entra and the metadata service count only as far as Microsoft's own client passes against them."""

import os
import pathlib

from azure_entra import AUDIENCE, RESOURCE, TENANT
from azure_world import ACCOUNT, CLIENT, CONTAINER, NODE, READER, SUBJECT, azure_world
from harness import WORK, need, test

SCOPE = f"{RESOURCE}/.default"


def options(azure):
    return {"authority": azure.entra.authority, "disable_instance_discovery": True, "connection_verify": str(azure.world.nginx.ca), "retry_total": 0}


def token_file(azure, name, **claims):
    path = pathlib.Path(WORK) / f"azure-token-{name}"
    namespace, account = SUBJECT.split(":")[2:]
    path.write_text(azure.world.cluster.mint(namespace, claims.pop("account", account), claims.pop("audience", AUDIENCE), **claims))
    return str(path)


def workload(azure, name, client=READER, tenant=TENANT, **claims):
    from azure.identity import WorkloadIdentityCredential
    return WorkloadIdentityCredential(tenant_id=tenant, client_id=client, token_file_path=token_file(azure, name, **claims), **options(azure))


def reads(azure, credential, blob):
    client = azure.azurite.client(ACCOUNT, azure.guard.port, azure.world.nginx.ca, credential)
    return client.get_blob_client(CONTAINER, blob).download_blob().readall()


def refused(call, *words):
    from azure.core.exceptions import AzureError
    try:
        call()
    except AzureError as error:
        need(all(word in str(error) for word in words), f"{words}: {error}")
        return
    raise AssertionError(f"taken, where {words} was expected")


@test("azure-client workload-identity")
def workload_identity(world):
    azure = azure_world(world)
    azure.put("client-workload", b"by workload identity")
    with workload(azure, "good") as credential:
        need(credential.get_token(SCOPE).token.count(".") == 2, "a token")
        need(reads(azure, credential, "client-workload") == b"by workload identity", "contents")
    cases = {"AADSTS700213": {"account": "other"}, "AADSTS700212": {"audience": "elsewhere"}, "AADSTS700024": {"seconds": -5},
             "AADSTS700211": {"iss": "https://elsewhere.test"}, "AADSTS700016": {"client": READER.replace("1", "9")}}
    for code, claims in cases.items():
        refused(lambda c=code, o=claims: workload(azure, c, **o).get_token(SCOPE), code)


@test("azure-client client-secret")
def client_secret(world):
    from azure.identity import ClientSecretCredential
    azure = azure_world(world)
    azure.put("client-secret", b"by client secret")
    with ClientSecretCredential(TENANT, CLIENT, azure.client_secret, **options(azure)) as credential:
        need(reads(azure, credential, "client-secret") == b"by client secret", "contents")
    refused(lambda: ClientSecretCredential(TENANT, CLIENT, "wrong", **options(azure)).get_token(SCOPE), "AADSTS7000215")
    refused(lambda: ClientSecretCredential(TENANT, CLIENT, azure.client_secret, **options(azure)).get_token("https://vault.azure.net/.default"), "AADSTS70011")


@test("azure-client managed-identity", exclusive=True)
def managed_identity(world):
    from azure.identity import ManagedIdentityCredential
    azure = azure_world(world)
    azure.put("client-managed", b"by managed identity")
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = azure.metadata.url("")
    try:
        for credential in (ManagedIdentityCredential(), ManagedIdentityCredential(client_id=NODE)):
            need(reads(azure, credential, "client-managed") == b"by managed identity", "contents")
        refused(lambda: ManagedIdentityCredential(client_id=READER, retry_total=0).get_token(SCOPE), "Identity not found")
    finally:
        del os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"]
