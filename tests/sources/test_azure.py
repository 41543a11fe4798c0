"""Azure Blob Storage with every identity: azurite over HTTPS behind a guard that knows what Entra gave to whom, and seen through it."""

import contextlib
import datetime
import gzip
import hashlib
import threading

import guard
from azure_entra import App
from azure_world import ACCOUNT, CONTAINER, NODE, OTHER, READER, SUBJECT, azure_world, pod, url
from harness import NON_FINAL, Code, need, test

azure_lock = threading.Lock()
DENIED = (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED)
# What has to be written differently in a path, in a canonical form and in a file's name.
NAMES = ("plain", "dir/with space", "plus+plus", "per%cent%20encoded", "uni-ü-日本語-😀", "a=b&c;d", "tilde~and'quote(1)!*", "semi;colon@at,comma$",
         "deep/er/est/name.tar.gz", "bracket[1]{2}", "hat^caret`", "question?mark#hash", "quote\"<less>|pipe", "dot.in.the.middle", "x" * 200,
         "é-composed-e\u0301-decomposed", ".hidden", "%2F", "a:b", "two//slashes")


@contextlib.contextmanager
def published(azure, inputs, storage_class="azure", secrets=None, **options):
    made = pod(azure, **options)
    made.publish_as_kubelet(inputs, storageClass=storage_class, secrets=secrets)
    yield made
    made.unpublish()


def refused(azure, code, inputs, *words, storage_class="azure", secrets=None, target="x", **options):
    made, secrets = pod(azure, name="azure-refused", **options), secrets or {}
    return made.final(code, lambda: made.publish(f"{inputs} -> {target}", storageClass=storage_class, secrets=secrets), "input 1|inputs line 1", *words,
                      absent=[value for value in secrets.values() if len(value) > 40])


def left_the_store(azure, name):
    """Bytes of a blob that went out, beyond the first byte that each question reads."""
    return sum(record["sent"] for record in azure.guard.requests(path=f"/{ACCOUNT}/{CONTAINER}/{name}", refused=False)
               if record["status"] < 300 and record["sent"] > 1)


@test("azure key names-of-every-kind")
def names(world):
    azure = azure_world(world)
    contents = {name: (name * 50).encode() for name in NAMES}
    for name, body in contents.items():
        azure.put(name, body)
    lines = [f"{url(name)} -> file-{number}" for number, name in enumerate(contents)]
    with published(azure, "\n".join(lines), secrets=azure.key_secret) as made, azure.service() as theirs:
        for number, (name, body) in enumerate(contents.items()):
            need(made.read(f"file-{number}") == body == theirs.get_blob_client(CONTAINER, name).download_blob().readall(), name)
    with published(azure, url("uni-ü-日本語-😀"), secrets={"AZURE_STORAGE_ACCESS_KEY": azure.azurite.keys[ACCOUNT]}) as made:
        need([each.name for each in made.target.iterdir()] == ["uni-ü-日本語-😀"], "default name")


@test("azure key large-blob-in-parts")
def large(world):
    azure = azure_world(world)
    body = hashlib.shake_128(b"azure").digest(24 << 20)
    with published(azure, azure.put("large.bin", body), secrets=azure.key_secret) as made:
        need(hashlib.sha256(made.read("large.bin")).digest() == hashlib.sha256(body).digest(), "contents")
    need(len(body) <= left_the_store(azure, "large.bin") <= len(body) + 10, f"{left_the_store(azure, 'large.bin')} bytes left the store")
    need(any(record["range"] for record in azure.guard.requests(path=f"/{ACCOUNT}/{CONTAINER}/large.bin")), "no part was asked for by its range")


@test("azure key empty-blob-and-stored-encoding")
def empty(world):
    azure = azure_world(world)
    from azure.storage.blob import ContentSettings
    azure.put("empty", b"")
    packed = gzip.compress(b"stored packed" * 100)
    azure.put("packed", packed, content_settings=ContentSettings(content_encoding="gzip"))
    with published(azure, f"{url('empty')}\n{url('packed')}", secrets=azure.key_secret) as made:
        need(made.read("empty") == b"", "contents of nothing")
        need(made.read("packed") == packed, "the bytes are those that are stored")


@test("azure key wrong-or-of-another-account")
def wrong_key(world):
    azure = azure_world(world)
    blob = azure.put("secret-plan", b"not for everybody" * 1000)
    other = azure.azurite.keys[OTHER]

    def all_refused():
        refused(azure, Code.UNAUTHENTICATED, blob, "AuthenticationFailed|InvalidAuthenticationInfo", "asked with the secret's account key",
                secrets={"azurestorageaccountkey": other})
        refused(azure, (*DENIED, Code.NOT_FOUND, Code.FAILED_PRECONDITION), blob,
                secrets={"azurestorageaccountname": OTHER, "azurestorageaccountkey": other})
        refused(azure, (*DENIED, Code.NOT_FOUND, Code.FAILED_PRECONDITION), blob)
    all_refused()
    need(left_the_store(azure, "secret-plan") == 0, "contents left the store for a wrong key")
    with published(azure, blob, secrets=azure.key_secret) as made:
        need(made.read("secret-plan") == b"not for everybody" * 1000, "contents")
        all_refused()


def sas_of(azure, name, minutes=30, permission="r", key=None):
    from azure.storage.blob import BlobSasPermissions, generate_blob_sas
    over = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    return generate_blob_sas(ACCOUNT, CONTAINER, name, account_key=key or azure.azurite.keys[ACCOUNT], expiry=over,
                             start=over - datetime.timedelta(days=1), permission=BlobSasPermissions.from_string(permission))


@test("azure sas")
def sas(world):
    azure = azure_world(world)
    blob = azure.put("by-sas", b"signed for a while")
    good = sas_of(azure, "by-sas")

    def secret(text):
        return {"azurestorageaccountsastoken": text}
    for text in (good, f"?{good}"):
        with published(azure, blob, secrets=secret(text)) as made:
            need(made.read("by-sas") == b"signed for a while", "contents")
    # azurite says AuthorizationFailure where Azure says AuthenticationFailed.
    refused(azure, DENIED, blob, "HTTP 403 Auth", "the secret's SAS, valid until 20", secrets=secret(sas_of(azure, "by-sas", -30)))
    refused(azure, DENIED, blob, "HTTP 403 Auth", secrets=secret(sas_of(azure, "by-sas", key=azure.azurite.keys[OTHER])))
    refused(azure, DENIED, blob, "HTTP 403", secrets=secret(sas_of(azure, "another")))
    refused(azure, Code.PERMISSION_DENIED, blob, "AuthorizationPermissionMismatch", "the SAS the permission", secrets=secret(sas_of(azure, "by-sas", permission="w")))
    # A signed URL is the web's, as ever.
    with published(azure, f"https://localhost:{azure.azurite.port}/{ACCOUNT}/{CONTAINER}/by-sas?{good} -> web") as made:
        need(made.read("web") == b"signed for a while", "contents by URL")


@test("azure client-secret")
def client_secret(world):
    azure = azure_world(world)
    blob = azure.put("by-client", b"by client secret")
    with published(azure, blob, secrets=azure.client_secrets) as made:
        need(made.read("by-client") == b"by client secret", "contents")
    refused(azure, Code.UNAUTHENTICATED, blob, "Microsoft Entra: HTTP 401 AADSTS7000215: the client secret is wrong",
            secrets={**azure.client_secrets, "AZURE_CLIENT_SECRET": "wrong"})
    refused(azure, Code.UNAUTHENTICATED, blob, "AADSTS90002: there is no such tenant", secrets={**azure.client_secrets, "AZURE_TENANT_ID": "elsewhere.test"})


@test("azure workload-identity")
def workload_identity(world):
    azure = azure_world(world)
    blob = azure.put("by-workload", b"by workload identity" * 1000)

    def others_are_refused():
        refused(azure, Code.PERMISSION_DENIED, blob, "AuthorizationPermissionMismatch", "service account team-a/default", storage_class="azure-stranger",
                tokens=azure.tokens())
        refused(azure, Code.UNAUTHENTICATED, blob, "AADSTS700213: no federated credential", "service account team-a/other", storage_class="azure-reader",
                tokens=azure.tokens("other"), account="other")
        refused(azure, (*DENIED, Code.NOT_FOUND, Code.FAILED_PRECONDITION), blob, "without credentials|NotFound|Public", storage_class="azure-reader")
        refused(azure, (*DENIED, Code.NOT_FOUND, Code.FAILED_PRECONDITION), blob, storage_class="azure-reader", tokens=azure.tokens(audience="sts.amazonaws.com"))
    others_are_refused()
    need(left_the_store(azure, "by-workload") == 0, "contents left the store for somebody else")
    with published(azure, blob, storage_class="azure-reader", tokens=azure.tokens()) as made:
        need(made.read("by-workload") == b"by workload identity" * 1000, "contents")
        sent = left_the_store(azure, "by-workload")
        others_are_refused()
        need(left_the_store(azure, "by-workload") == sent, "contents left the store for somebody else")
    need({record["principal"] for record in azure.guard.requests(path=f"/{ACCOUNT}/{CONTAINER}/by-workload", refused=False)} >= {READER}, "who asked")


@test("azure entra-says-no-or-nothing", exclusive=True)
def entra_faults(world):
    azure = azure_world(world)
    blob = azure.put("entra", b"x")
    tokens = azure.tokens("fresh"), "fresh"
    azure.entra.apps[READER].federated.add((world.cluster.issuer, "system:serviceaccount:team-a:fresh"))

    def asked(code, *words):
        made = pod(azure, *tokens)
        made.final(code, lambda: made.publish(f"{blob} -> x", storageClass="azure-reader"), *words)
    azure.entra.next(200, b"<html>", "text/html")
    asked(Code.FAILED_PRECONDITION, "Microsoft Entra: the answer is not JSON")
    azure.entra.next(200, b'{"token_type":"Bearer","expires_in":3599}', "application/json")
    asked(Code.FAILED_PRECONDITION, "no access_token")
    with azure.entra.is_down():
        made = pod(azure, *tokens)
        made.final(NON_FINAL, lambda: made.publish(f"{blob} -> x", storageClass="azure-reader", timeout=20), "Microsoft Entra|caching|deadline|Deadline")
    azure.entra.next(503, times=1)
    with published(azure, f"{blob} -> x", "azure-reader", tokens=tokens[0], account=tokens[1]) as made:
        need(made.read("x") == b"x", "contents once it is up")


@test("azure what-is-not-there")
def not_there(world):
    azure = azure_world(world)
    refused(azure, Code.NOT_FOUND, url("no-such-blob"), "HTTP 404 BlobNotFound: no such blob", secrets=azure.key_secret)
    refused(azure, Code.NOT_FOUND, url("x", "no-such-container"), "HTTP 404 ContainerNotFound: no such container", secrets=azure.key_secret)
    refused(azure, Code.INVALID_ARGUMENT, f"az://{ACCOUNT}/{CONTAINER}/x?snapshot=2020-04-28T23:14:05.0000000Z", "snapshots", secrets=azure.key_secret)
    refused(azure, Code.INVALID_ARGUMENT, f"az://{ACCOUNT}/UPPER/x", "not a container's name", secrets=azure.key_secret)


@test("azure archive-tier")
def archived(world):
    from azure.storage.blob import StandardBlobTier
    azure = azure_world(world)
    blob = azure.put("cold", b"frozen")
    with azure.service() as service:
        service.get_blob_client(CONTAINER, "cold").set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    refused(azure, Code.FAILED_PRECONDITION, blob, "HTTP 409 BlobArchived: the blob is in the archive tier", secrets=azure.key_secret)


@test("azure public-container")
def public(world):
    azure = azure_world(world)
    with azure.service() as service:
        service.create_container("public", public_access="blob")
    azure.put("open", b"for all", container="public")
    with published(azure, url("open", "public")) as made:
        need(made.read("open") == b"for all", "contents")


@test("azure replaced-blob-is-a-new-version")
def replaced(world):
    azure = azure_world(world)
    blob = azure.put("changes", b"one")
    with published(azure, blob, secrets=azure.key_secret) as first:
        azure.put("changes", b"two!")
        with published(azure, blob, secrets=azure.key_secret) as second:
            need((first.read("changes"), second.read("changes")) == (b"one", b"two!"), "each pod has its own")


@test("azure throttled")
def throttled(world):
    azure = azure_world(world)
    blob = azure.put("busy", b"in the end")
    azure.world.add_class("azure-busy", azureEndpoint=(busy := world.guard(azure.azurite.port, tls=True, upstream_tls=True)).url().rstrip("/"))
    busy.next(503, headers={"x-ms-error-code": "ServerBusy", "Retry-After": "1"}, times=2)
    with published(azure, blob, "azure-busy", secrets=azure.key_secret) as made:
        need(made.read("busy") == b"in the end" and busy.count(refused=True) == 2, "contents")


@test("azure node-identity", exclusive=True)
def node_identity(world):
    azure = azure_world(world)
    blob = azure.put("by-node", b"by the node")
    before = azure.metadata.count()
    refused(azure, (*DENIED, Code.NOT_FOUND, Code.FAILED_PRECONDITION), blob)
    refused(azure, Code.PERMISSION_DENIED, blob, storage_class="azure-stranger", tokens=azure.tokens())
    azure.add_class("azure-both", azureClientId=READER, nodeIdentity="true")
    refused(azure, Code.UNAUTHENTICATED, blob, "AADSTS700213", storage_class="azure-both", tokens=azure.tokens("nobody"), account="nobody")
    need(azure.metadata.count() == before, "the node was asked for its identity where no class says so")
    with published(azure, blob, "azure-node") as made:
        need(made.read("by-node") == b"by the node" and azure.metadata.count() > before, "contents")
    azure.add_class("azure-node-named", nodeIdentity="true", azureClientId=NODE)
    azure.put("by-name", b"by the node's client id")
    with published(azure, url("by-name"), "azure-node-named") as made:
        need(made.read("by-name") == b"by the node's client id", "contents")
    azure.add_class("azure-node-unknown", nodeIdentity="true", azureClientId=READER)
    refused(azure, Code.UNAUTHENTICATED, blob, "the node's Azure metadata service: HTTP 400 invalid_request", storage_class="azure-node-unknown")


class Revoking(guard.AzureBearer):
    """What was given out counts no more when the third question for bytes comes."""
    asked = 0

    def refuse(self, request, principal):
        with azure_lock:
            self.asked += request.headers.get("range", "bytes=0-0") != "bytes=0-0"
            if self.asked == 3:
                self.tokens.revoke(principal)
        return super().refuse(request, principal)


@test("azure token-ends-during-a-fill")
def token_ends(world):
    azure = azure_world(world)
    client = "aaaaaaaa-0000-4000-8000-000000000005"
    azure.entra.apps[client] = App(federated={(world.cluster.issuer, SUBJECT)})
    revoking = world.guard(azure.azurite.port, Revoking(azure.entra.tokens, {client: {f"{ACCOUNT}/{CONTAINER}"}}), tls=True, upstream_tls=True)
    azure.add_class("azure-long", azureEndpoint=revoking.url().rstrip("/"), azureClientId=client)
    body = hashlib.shake_128(b"long").digest(40 << 20)
    with published(azure, azure.put("long.bin", body), "azure-long", tokens=azure.tokens()) as made:
        need(hashlib.sha256(made.read("long.bin")).digest() == hashlib.sha256(body).digest(), "contents")
    refusals = [record for record in revoking.requests(refused=True) if record["status"] == 401]
    need(refusals, "the token never ended")
    need(azure.entra.tokens.count(client) == 2, f"{azure.entra.tokens.count(client)} tokens were given out, two are needed")
