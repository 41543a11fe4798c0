"""Cloud Storage and Google's identities: fake-gcs-server behind a guard that knows every token that was given out. Google's own client
(google-auth) passes against each stand-in first.

What fake-gcs-server does not do, the guard does: it demands tokens, knows that a bucket is missing (the server answers 404 without a
code) and compares x-goog-if-generation-match (the server looks at it for uploads alone)."""

import functools
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.parse

import google_identity
import guard
import harness
from credential_service import Answer
from google_identity import Provider, principal
from harness import Code, expect, need, test
from tokens import Cluster

BUCKET, PUBLIC = "private-bucket", "public-bucket"
BODY = b"private " * 1000
POOL = "acme.svc.id.goog"
GKE = f"identitynamespace:{POOL}:https://container.googleapis.com/v1/projects/acme/locations/l/clusters/c"
FEDERATED = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster"
ACCOUNT, OTHER, NODE = "reader@acme.iam.gserviceaccount.com", "other@acme.iam.gserviceaccount.com", "node@acme.iam.gserviceaccount.com"
READER = principal(POOL, "team-a", "reader")
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
LOCK = threading.Lock()


class StorageRule(guard.GoogleBearer):
    """What Cloud Storage checks of a read and fake-gcs-server does not."""

    def __init__(self, tokens, store):
        super().__init__(tokens, {}, public={PUBLIC})
        self.store, self.conditions = store, True

    def generation_now(self, request):
        bucket, _, key = request.path.lstrip("/").partition("/")
        status, _, data = self.store.request("GET", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(urllib.parse.unquote(key), safe='')}")
        return json.loads(data)["generation"] if status == 200 else None

    def refuse(self, request, asker):
        bucket = self.place_of(request.path)
        refusal = super().refuse(request, asker)
        token = self.token_of(request)
        if not refusal and token and token.details["scope"] not in google_identity.SCOPES:
            refusal = self.error(request, 403, "insufficientPermissions", "AccessDenied", "Insufficient Permission")
        if refusal or self.JSON_API.fullmatch(request.path):
            return refusal
        if self.store.request("GET", f"/storage/v1/b/{bucket}")[0] == 404:
            return guard.xml_error(404, "NoSuchBucket", "The specified bucket does not exist.")
        wanted = request.headers.get("x-goog-if-generation-match")
        if self.conditions and wanted and "generation" not in request.query and wanted != self.generation_now(request):
            return guard.xml_error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
        return None


class Cloud:
    """A bucket with its guard and all that gives out tokens. A test that counts or breaks something makes its own."""

    def __init__(self, world, name):
        self.world, self.name, self.store = world, name, world.gcs
        with LOCK:
            if not getattr(world, "gcs_buckets_are_there", False):
                for bucket in (BUCKET, PUBLIC, "gs-versions", "gs-list"):
                    self.store.make_bucket(bucket, versions=bucket == "gs-versions")
                self.store.put(BUCKET, "data", BODY)
                self.store.put(PUBLIC, "data", BODY)
                world.gcs_buckets_are_there = True
        self.google = world.kept(google_identity.Google(world.cluster, world.tls))
        self.google.sts.providers[GKE] = Provider(POOL, {POOL})
        self.google.sts.providers[FEDERATED] = Provider("pool", {FEDERATED, f"https:{FEDERATED}"})
        self.google.iam.impersonators = {ACCOUNT: {READER}, OTHER: set()}
        self.google.metadata.account = NODE
        self.rule = StorageRule(self.google.tokens, self.store)
        everything = {BUCKET, "gs-versions", "gs-list", "no-such-bucket"}
        self.rule.rights.update({asker: everything for asker in (READER, ACCOUNT, NODE, principal("pool", "team-a", "reader"))})
        self.guard = world.guard(self.store.port, self.rule)
        self.plain = self.add_class("plain")
        self.gke = self.add_class("gke", googleProvider=GKE)
        self.node = self.add_class("node", nodeIdentity="true")

    def add_class(self, kind, **parameters):
        google = self.google
        return self.world.add_class(f"gs-{self.name}-{kind}", **{
            "gcsEndpoint": self.guard.url().rstrip("/"), "googleTokenEndpoint": google.oauth.url(""), "googleStsEndpoint": google.sts.url(""),
            "googleIamEndpoint": google.iam.url(""), "googleMetadataEndpoint": google.metadata.url(""), **parameters})

    def tokens(self, account="reader", audiences=(POOL,), seconds=3600, cluster=None):
        return {TOKENS: (cluster or self.world.cluster).pod_tokens("team-a", account, audiences, seconds)}

    def key(self, email=ACCOUNT, name="gcloud-application-credentials.json", **fields):
        return {"secrets": {name: self.google.key_file(email, **fields)}}

    def pod(self, account="reader"):
        pod = self.world.node.pod(f"gs-{account}")
        context = pod.context
        pod.context = lambda attributes: {**context(attributes), "csi.storage.k8s.io/serviceAccount.name": account}
        return pod

    def read(self, storage_class, url=f"gs://{BUCKET}/data", name="data", account="reader", **attributes):
        pod = self.pod(account)
        pod.publish_as_kubelet(url, storageClass=storage_class, **attributes)
        body = pod.read(name)
        pod.unpublish_as_kubelet()
        return body

    def refused(self, code, storage_class, *words, url=f"gs://{BUCKET}/data", account="reader", **attributes):
        pod = self.pod(account)
        return pod.final(code, lambda: pod.publish(url, storageClass=storage_class, timeout=60, **attributes), *words)


# --- Google's own client ---

CLIENT = """
import json, sys
import google.auth.exceptions, google.auth.transport.requests
from google.auth import compute_engine, identity_pool
from google.oauth2 import service_account
kind, config, scopes = json.load(sys.stdin)
made = {"key": lambda: service_account.Credentials.from_service_account_info(config, scopes=scopes),
        "pool": lambda: identity_pool.Credentials.from_info(config, scopes=scopes),
        "node": lambda: compute_engine.Credentials(scopes=scopes or None)}[kind]()
try:
    made.refresh(google.auth.transport.requests.Request())
    print(json.dumps(["ok", made.token]))
except google.auth.exceptions.GoogleAuthError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def google_auth(cloud, kind, config=None, scopes=(google_identity.READ,), **environment):
    settings = {"REQUESTS_CA_BUNDLE": str(cloud.world.nginx.ca), "HOME": "/nonexistent", "PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"]}
    done = subprocess.run([sys.executable, "-c", CLIENT], input=json.dumps([kind, config, list(scopes)]), env={**settings, **environment},
                          capture_output=True, text=True, timeout=100, check=False)
    need(done.returncode == 0, done.stderr[-900:])
    return json.loads(done.stdout)


def need_token(cloud, got, asker, scope=google_identity.READ):
    token = cloud.google.tokens.find(got[1]) if got[0] == "ok" else None
    need(token and token.principal == asker and token.details["scope"] == scope, f"{got[0]} {'' if token else got[1][:300]}")


@test("google-client key-file", slow=True)
def client_key(world):
    cloud = Cloud(world, "client-key")
    document = json.loads(cloud.google.key_file(ACCOUNT))
    need_token(cloud, google_auth(cloud, "key", document), ACCOUNT)
    cases = ((document, ["https://www.googleapis.com/auth/gmail"], "invalid_scope"), ({**document, "client_email": OTHER}, [google_identity.READ], "account not found"),
             ({**document, "private_key": json.loads(cloud.google.key_file(NODE))["private_key"]}, [google_identity.READ], "Invalid JWT Signature"))
    for config, scopes, words in cases:
        got = google_auth(cloud, "key", config, scopes)
        need(got[0] == "RefreshError" and words in got[1], f"{words}: {got[0]}")
    need(not cloud.google.oauth.complaints and cloud.google.oauth.count("token") == 4, f"{cloud.google.oauth.complaints} {cloud.google.oauth.count()}")


def pool_config(cloud, name, audience, token, impersonates=None):
    path = harness.WORK / f"gs-token-{cloud.name}-{name}"
    path.write_text(token)
    config = {"type": "external_account", "audience": audience, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
              "token_url": cloud.google.sts.url("/v1/token"), "credential_source": {"file": str(path)}}
    if impersonates:
        config["service_account_impersonation_url"] = cloud.google.iam.url(f"/v1/projects/-/serviceAccounts/{impersonates}:generateAccessToken")
    return config


@test("google-client workload-identity", slow=True)
def client_pool(world):
    cloud = Cloud(world, "client-pool")
    mint = functools.partial(cloud.world.cluster.mint, "team-a")
    cloud.google.iam.impersonators[ACCOUNT].add(principal("pool", "team-a", "reader"))
    good = mint("reader", FEDERATED)
    need_token(cloud, google_auth(cloud, "pool", pool_config(cloud, "good", FEDERATED, good)), principal("pool", "team-a", "reader"))
    need_token(cloud, google_auth(cloud, "pool", pool_config(cloud, "as", FEDERATED, good, ACCOUNT)), ACCOUNT)
    cases = (("audience", mint("reader", "other"), None, "audience"), ("expired", mint("reader", FEDERATED, seconds=-5), None, "expired"),
             ("issuer", Cluster().mint("team-a", "reader", FEDERATED), None, "invalid_grant"), ("denied", good, OTHER, "PERMISSION_DENIED"),
             ("none", good, "none@acme.iam.gserviceaccount.com", "NOT_FOUND"))
    for name, token, account, words in cases:
        got = google_auth(cloud, "pool", pool_config(cloud, name, FEDERATED, token, account))
        need(got[0] in ("OAuthError", "RefreshError") and words in got[1], f"{name}: {got[0]} {got[1][:200] if got[0] != 'ok' else ''}")
    got = google_auth(cloud, "pool", pool_config(cloud, "target", FEDERATED.replace("pool/", "nothing/"), good))
    need(got[0] == "OAuthError" and "invalid_target" in got[1], got[0])
    need(not cloud.google.sts.complaints and not cloud.google.iam.complaints, f"{cloud.google.sts.complaints} {cloud.google.iam.complaints}")


@test("google-client metadata", slow=True)
def client_metadata(world):
    cloud = Cloud(world, "client-metadata")
    host = {"GCE_METADATA_HOST": f"127.0.0.1:{cloud.google.metadata.port}", "GCE_METADATA_IP": f"127.0.0.1:{cloud.google.metadata.port}"}
    need_token(cloud, google_auth(cloud, "node", **host), NODE, google_identity.PLATFORM)
    cloud.google.metadata.account = None
    got = google_auth(cloud, "node", **host)
    need(got[0] == "RefreshError", got[0])
    need(not cloud.google.metadata.complaints, cloud.google.metadata.complaints)


# --- objects ---

@test("gs one-object")
def one_object(world):
    cloud = Cloud(world, "object")
    need(cloud.read(cloud.plain, **cloud.key()) == BODY, "contents")
    need(cloud.google.oauth.count("token") == 1 and cloud.google.count() == 1, "who was asked")
    served = cloud.guard.requests(refused=False)
    need({record["principal"] for record in served} == {ACCOUNT}, guard.trace(served))
    need({record["path"] for record in served} == {f"/{BUCKET}/data"}, guard.trace(served))
    need(cloud.read(cloud.plain, f"gs://{PUBLIC}/data") == BODY, "a public bucket, without credentials")
    need(cloud.google.count() == 1, "nobody is asked for those")


@test("gs ranges-of-a-large-object", slow=True)
def large(world):
    cloud = Cloud(world, "large")
    body = hashlib.shake_128(b"gs-large").digest(40 << 20)
    cloud.store.put(BUCKET, "large", body)
    need(cloud.read(cloud.plain, f"gs://{BUCKET}/large", "large", **cloud.key()) == body, "contents")
    ranges = [record["range"] for record in cloud.guard.requests(path=f"/{BUCKET}/large") if record["range"] and record["range"] != "bytes=0-0"]
    need(len(ranges) >= 2 and len(set(ranges)) == len(ranges), f"{ranges}")


@test("gs versions")
def versions(world):
    cloud, key = Cloud(world, "versions"), "run.bin"
    first = cloud.store.put("gs-versions", key, b"first version")
    secret = cloud.key()
    read = functools.partial(cloud.read, cloud.plain, name=key, **secret)
    need(read(f"gs://gs-versions/{key}") == b"first version", "first")
    pod = cloud.pod()
    pod.publish_as_kubelet(f"gs://gs-versions/{key}", storageClass=cloud.plain, **secret)
    second = cloud.store.put("gs-versions", key, b"second, longer version")
    need(read(f"gs://gs-versions/{key}") == b"second, longer version", "an object that was replaced is another")
    need(pod.read(key) == b"first version", "and the pod from before keeps what it has")
    pod.unpublish_as_kubelet()
    before = cloud.guard.body_bytes()
    need(read(f"gs://gs-versions/{key}?generation={first['generation']}") == b"first version", "pinned")
    need(read(f"gs://gs-versions/{key}?generation={second['generation']}") == b"second, longer version", "pinned")
    need(cloud.guard.body_bytes() - before <= 4, f"{cloud.guard.body_bytes() - before} bytes: a pin names what is there already")
    cloud.refused(Code.NOT_FOUND, cloud.plain, "HTTP 404", url=f"gs://gs-versions/{key}?generation=1234", **secret)
    cloud.refused(Code.INVALID_ARGUMENT, cloud.plain, "generation", url=f"gs://gs-versions/{key}?generation=latest", **secret)


@test("gs replaced-during-a-fill", slow=True)
def replaced(world):
    """Parts of two generations never meet: 412 in the middle, then the new one from its start; also where a server ignores conditions."""
    for conditions in (True, False):
        replace(Cloud(world, f"replaced-{conditions:d}"), f"moving-{conditions:d}", conditions)


def replace(cloud, name, conditions):
    cloud.rule.conditions = conditions
    old, new = (hashlib.shake_128(text).digest(40 << 20) for text in (b"old", b"new"))
    cloud.store.put(BUCKET, name, old)
    refuse, done = cloud.rule.refuse, threading.Event()

    def refuse_and_replace(request, asker):
        first = re.match(r"bytes=(\d+)-", request.headers.get("range", ""))
        if first and int(first.group(1)) > 0 and not done.is_set():
            done.set()
            cloud.store.put(BUCKET, name, new)
        return refuse(request, asker)
    cloud.rule.refuse = refuse_and_replace
    need(cloud.read(cloud.plain, f"gs://{BUCKET}/{name}", name, **cloud.key()) == new, "contents")
    need(done.is_set() and any(record["status"] == 412 for record in cloud.guard.requests()) == conditions, "no request met the new generation")


NAMES = ("a b.txt", "ümlaut-日本.txt", "per%cent.txt", "plus+.txt", "hash#.txt", "what?.txt", "semi;colon,&=.txt", "quote'\".txt", "deep/er/file.txt", "%2F.txt")


@test("gs odd-names")
def odd_names(world):
    cloud = Cloud(world, "names")
    secret = cloud.key()
    for number, name in enumerate(NAMES):
        body = f"{number}".encode() * 10
        cloud.store.put(BUCKET, f"odd/{name}", body)
        url = f"gs://{BUCKET}/odd/{urllib.parse.quote(name)}"
        need(cloud.read(cloud.plain, f"{url} -> file-{number}", f"file-{number}", **secret) == body, name)


@test("gs stored-compressed")
def stored_compressed(world):
    """Bytes come as they are stored, ranges and all."""
    cloud = Cloud(world, "gzip")
    packed = gzip.compress(BODY)
    cloud.store.put(BUCKET, "packed.json", packed, "application/json", contentEncoding="gzip")
    need(cloud.read(cloud.plain, f"gs://{BUCKET}/packed.json", "packed.json", **cloud.key()) == packed, "contents")


@test("gs checksum-that-is-another", slow=True)
def checksum(world):
    """Bytes that are not those of which Cloud Storage states the CRC32C never appear."""
    cloud = Cloud(world, "checksum")
    cloud.store.put(BUCKET, "lie", BODY)
    headers = {"X-Goog-Generation": "1712345678901234", "X-Goog-Stored-Content-Encoding": "identity", "X-Goog-Hash": "crc32c=AAAAAA=="}
    refuse = cloud.rule.refuse

    def lie(request, asker):
        if request.path != f"/{BUCKET}/lie":
            return refuse(request, asker)
        if request.headers.get("range") == "bytes=0-0":
            return Answer(206, BODY[:1], "text/plain", {**headers, "Content-Range": f"bytes 0-0/{len(BODY)}"})
        return Answer(200, BODY, "text/plain", headers)
    cloud.rule.refuse = lie
    pod = cloud.pod()
    pod.final((Code.DATA_LOSS, Code.FAILED_PRECONDITION, Code.UNAVAILABLE),
              lambda: pod.publish(f"gs://{BUCKET}/lie", storageClass=cloud.plain, timeout=90, **cloud.key()), "CRC32C|crc32c")


@test("gs refusals")
def refusals(world):
    cloud = Cloud(world, "refusals")
    secret = cloud.key()
    cloud.refused(Code.NOT_FOUND, cloud.plain, "HTTP 404", "no such object", url=f"gs://{BUCKET}/none", **secret)
    cloud.refused(Code.NOT_FOUND, cloud.plain, "NoSuchBucket", "no such bucket", url="gs://no-such-bucket/data", **secret)
    cloud.refused(Code.PERMISSION_DENIED, cloud.plain, f"asked with the key file of {OTHER}", "storage.objects.get", **cloud.key(OTHER))
    cloud.refused(Code.UNAUTHENTICATED, cloud.plain, "asked with no credentials")
    cloud.guard.next(400, guard.xml_error(400, "UserProjectMissing", "no").body, "application/xml")
    cloud.refused(Code.FAILED_PRECONDITION, cloud.plain, "requester pays", url=f"gs://{BUCKET}/pays", **secret)
    cloud.guard.next(503, b"", times=1)
    cloud.guard.next(429, b"", headers={"Retry-After": "1"})
    need(cloud.read(cloud.plain, **secret) == BODY, "after 503 and 429")


# --- prefixes ---

LISTING = "/storage/v1/b/gs-list/o"


def listings(cloud):
    return [urllib.parse.parse_qs(record["target"].partition("?")[2]) for record in cloud.guard.requests(path=LISTING)]


@test("gs prefix-and-glob")
def prefix(world):
    cloud = Cloud(world, "prefix")
    secret, files = cloud.key(), {"one.txt": b"1", "sub/two.txt": b"22", "sub/deep/three.csv": b"333", **{name: name.encode() for name in NAMES if name != "deep/er/file.txt"}}
    for name, body in files.items():
        if name != "%2F.txt":
            cloud.store.put("gs-list", f"tree/{name}", body)
    cloud.store.put("gs-list", "tree-beside", b"beside")
    del files["%2F.txt"]
    pod = cloud.pod()
    pod.publish_as_kubelet("gs://gs-list/tree/ -> t/", storageClass=cloud.plain, **secret)
    for name, body in files.items():
        need(pod.read(f"t/{name}") == body, name)
    need(not (pod.target / "t" / "tree-beside").exists() and len(list((pod.target / "t").rglob("*.*"))) == len(files), "and nothing else")
    need(all(query["prefix"] == ["tree/"] for query in listings(cloud)), f"{listings(cloud)}")
    pod.unpublish_as_kubelet()
    pod = cloud.pod()
    pod.publish_as_kubelet("gs://gs-list/tree/**/*.csv", storageClass=cloud.plain, **secret)
    need([path.name for path in pod.target.rglob("*") if path.is_file()] == ["three.csv"], f"{list(pod.target.rglob('*'))}")
    pod.unpublish_as_kubelet()
    cloud.refused(Code.PERMISSION_DENIED, cloud.plain, "may not be listed", "storage.objects.list", url="gs://gs-list/tree/ -> t/", **cloud.key(OTHER))
    cloud.refused(Code.NOT_FOUND, cloud.plain, "no such bucket", url="gs://no-such-bucket/tree/ -> t/", **secret)
    cloud.store.put("gs-list", "tree/one.txt", b"another one")
    need(cloud.read(cloud.plain, "gs://gs-list/tree/ -> t/", "t/one.txt", **secret) == b"another one", "an object that was replaced is another snapshot")


@test("gs prefix-of-many-pages", slow=True)
def pages(world):
    """Each name once, whatever way the listing is divided; each page on its own."""
    cloud = Cloud(world, "pages")
    names = [f"{number // 300:02}/{number:05}" for number in range(1100)]
    for name in names:
        cloud.store.put("gs-list", f"many/{name}", name.encode())
    pod = cloud.pod()
    pod.publish_as_kubelet("gs://gs-list/many/ -> m/", storageClass=cloud.gke, **cloud.tokens())
    found = sorted(str(path.relative_to(pod.target / "m")) for path in (pod.target / "m").rglob("*") if path.is_file())
    need(found == names, f"{len(found)} files")
    need(all(pod.read(f"m/{name}") == name.encode() for name in names[::151]), "contents")
    pod.unpublish_as_kubelet()
    need(len(listings(cloud)) >= 2 and any("pageToken" in query or "startOffset" in query for query in listings(cloud)), f"{len(listings(cloud))} pages")
    before, asked = cloud.guard.count(), cloud.google.count()
    need(cloud.read(cloud.gke, "gs://gs-list/many/ -> m/", "m/00/00000", **cloud.tokens()) == b"00/00000", "again")
    need(cloud.guard.count() - before <= 40 and cloud.google.count() == asked, f"{cloud.guard.count() - before} requests for what is there")


# --- identities ---

@test("gs key-file-kinds")
def key_files(world):
    cloud = Cloud(world, "keys")
    for name in ("credentials.json", "key.json", "GOOGLE_APPLICATION_CREDENTIALS_JSON"):
        need(cloud.read(cloud.plain, **cloud.key(name=name)) == BODY, name)
    for name, value in (("GOOGLE_OAUTH_ACCESS_TOKEN", cloud.google.tokens.issue(ACCOUNT, scope=google_identity.READ).value),
                        ("access_token", cloud.google.tokens.issue(ACCOUNT, scope=google_identity.READ).value)):
        need(cloud.read(cloud.plain, secrets={name: value}) == BODY, name)
    evil = world.hostile.url("plain/10/evil-token-uri")
    need(cloud.read(cloud.plain, **cloud.key(token_uri=evil)) == BODY, "token_uri is no address to ask")
    need(not world.hostile.requests("/plain/10/evil-token-uri"), "token_uri was asked")
    cloud.refused(Code.FAILED_PRECONDITION, cloud.plain, "'authorized_user' are not supported", "key file of a service account", **cloud.key(type="authorized_user"))
    cloud.refused(Code.INVALID_ARGUMENT, cloud.plain, "'private_key'", **cloud.key(private_key="nonsense"))
    cloud.refused(Code.INVALID_ARGUMENT, cloud.plain, "not a JSON object", secrets={"key.json": "nonsense"})
    stolen = cloud.key(NODE)
    cloud.google.key_file(NODE)  # another key: the first was deleted
    cloud.refused(Code.UNAUTHENTICATED, cloud.plain, "Google OAuth 2.0", "invalid_grant", "no longer", **stolen)
    need(cloud.google.metadata.count() == 0, "the node's identity")


@test("gs workload-identity")
def workload_identity(world):
    cloud = Cloud(world, "wi")
    need(cloud.read(cloud.gke, **cloud.tokens()) == BODY, "GKE")
    need(cloud.google.sts.count("exchange") == 1 and cloud.google.count() == 1, "one exchange and nothing else")
    need({record["principal"] for record in cloud.guard.requests(refused=False)} == {READER}, guard.trace(cloud.guard.requests()))
    any_cluster = cloud.add_class("any", googleProvider=FEDERATED)
    need(cloud.read(any_cluster, **cloud.tokens(audiences=(FEDERATED,))) == BODY, "any cluster")
    need(cloud.read(any_cluster, **cloud.tokens(audiences=(f"https:{FEDERATED}",))) == BODY, "the audience as a URL")
    become = cloud.add_class("become", googleProvider=GKE, googleServiceAccount=ACCOUNT)
    before = len(cloud.guard.requests())
    need(cloud.read(become, **cloud.tokens()) == BODY, "as a Google service account")
    need({record["principal"] for record in cloud.guard.requests()[before:]} == {ACCOUNT}, guard.trace(cloud.guard.requests()))
    need(cloud.google.sts.requests()[-1].form["scope"] == google_identity.IAM, "a scope for nothing else")
    need(cloud.read(cloud.gke, googleServiceAccount=ACCOUNT, **cloud.tokens()) == BODY, "that the volume names")
    need(cloud.google.iam.count("generate") == 2, f"{cloud.google.iam.count()}")
    pod = cloud.pod()  # in the secrets, as newer CSIDriver objects have it
    pod.publish_as_kubelet(f"gs://{BUCKET}/data", storageClass=cloud.gke, secrets=cloud.tokens())
    need(pod.read("data") == BODY, "contents")
    pod.unpublish_as_kubelet()


@test("gs workload-identity-that-is-refused")
def wi_refused(world):
    cloud = Cloud(world, "wi-refused")
    cloud.refused(Code.UNAUTHENTICATED, cloud.gke, f"audience '{POOL}'", "tokenRequests", **cloud.tokens(audiences=("sts.amazonaws.com",)))
    need(cloud.google.count() == 0, "a token for somebody else went out")
    cloud.refused(Code.UNAUTHENTICATED, cloud.gke, "Google STS", "invalid_grant", "issuer", **cloud.tokens(cluster=Cluster()))
    cloud.refused(Code.UNAUTHENTICATED, cloud.gke, "expired|invalid_grant", **cloud.tokens(seconds=-60))
    need(cloud.read(cloud.gke, **cloud.tokens()) == BODY, "the first one fills")
    cloud.refused(Code.UNAUTHENTICATED, cloud.add_class("target", googleProvider=GKE.replace("/c", "/none")), "invalid_target", "googleProvider", **cloud.tokens())
    cloud.refused(Code.PERMISSION_DENIED, cloud.gke, "service account team-a/stranger", "storage.objects.get", account="stranger", **cloud.tokens("stranger"))
    become = cloud.add_class("become", googleProvider=GKE, googleServiceAccount=ACCOUNT)
    cloud.refused(Code.PERMISSION_DENIED, become, f"as {ACCOUNT}", "PERMISSION_DENIED", "workloadIdentityUser", account="stranger", **cloud.tokens("stranger"))
    nobody = cloud.add_class("nobody", googleProvider=GKE, googleServiceAccount="nobody@acme.iam.gserviceaccount.com", nodeIdentity="true")
    cloud.refused(Code.FAILED_PRECONDITION, nobody, "NOT_FOUND", "no such Google service account", **cloud.tokens())
    need(cloud.google.metadata.count() == 0, "the node's identity")
    need(cloud.read(cloud.gke, **cloud.tokens()) == BODY, "and the first one goes on being served")


@test("gs sts-down", slow=True)
def sts_down(world):
    cloud = Cloud(world, "sts")
    cloud.google.sts.next(500, b"")
    cloud.google.sts.next(429, b"", headers={"Retry-After": "1"})
    need(cloud.read(cloud.gke, **cloud.tokens()) == BODY, "after 500 and 429")
    need(cloud.google.sts.count() == 3, f"{cloud.google.sts.count()}")
    cloud = Cloud(world, "sts-garbage")
    cloud.google.sts.next(200, b"<html>", "text/html")
    cloud.refused(Code.FAILED_PRECONDITION, cloud.gke, "Google STS", "no JSON object", **cloud.tokens())
    cloud = Cloud(world, "sts-down")
    pod = cloud.pod()
    with cloud.google.sts.is_down():
        expect((Code.UNAVAILABLE, Code.ABORTED), lambda: pod.publish(f"gs://{BUCKET}/data", storageClass=cloud.gke, timeout=60, **cloud.tokens()), "Google STS|resolv")
    pod.publish_as_kubelet(f"gs://{BUCKET}/data", storageClass=cloud.gke, **cloud.tokens())
    need(pod.read("data") == BODY, "up again")
    pod.unpublish_as_kubelet()


@test("gs node-identity only-where-the-class-says-so")
def node_identity(world):
    cloud = Cloud(world, "node")
    cloud.refused(Code.UNAUTHENTICATED, cloud.plain, "asked with no credentials")
    cloud.refused(Code.UNAUTHENTICATED, cloud.plain, "asked with no credentials", **cloud.tokens())
    cloud.refused(Code.PERMISSION_DENIED, cloud.gke, "stranger", account="stranger", **cloud.tokens("stranger"))
    need(not cloud.google.metadata.seen, f"{len(cloud.google.metadata.seen)} requests to the metadata server")
    need(cloud.read(cloud.node) == BODY, "the node's service account")
    need({record["principal"] for record in cloud.guard.requests(refused=False)} == {NODE, ""} - {""}, guard.trace(cloud.guard.requests()))
    both = cloud.add_class("both", googleProvider=GKE, nodeIdentity="true")
    before = len(cloud.google.metadata.seen)
    cloud.refused(Code.PERMISSION_DENIED, both, "stranger", account="stranger", **cloud.tokens("stranger"))
    cloud.refused(Code.UNAUTHENTICATED, both, "audience", account="stranger")
    cloud.refused(Code.UNAUTHENTICATED, cloud.node, "no credentials, as the class has no googleProvider", googleServiceAccount=ACCOUNT, **cloud.tokens())
    need(len(cloud.google.metadata.seen) == before, "a pod with an identity was given the node's")
    cloud = Cloud(world, "node-flavor")
    cloud.google.metadata.flavor = {}
    cloud.refused(Code.FAILED_PRECONDITION, cloud.node, "Metadata-Flavor")


@test("gs token-renewed-during-a-fill", slow=True)
def renewed(world):
    """Tokens that last three seconds; parts wait for each other, and the fill goes on with others."""
    cloud = Cloud(world, "renewed")
    body = hashlib.shake_128(b"gs-renewed").digest(48 << 20)
    cloud.store.put(BUCKET, "renewed", body)
    cloud.google.tokens.next_lives(*[3] * 50)
    refuse, gate, seen = cloud.rule.refuse, threading.Lock(), set()

    def one_by_one(request, asker):
        if request.headers.get("range", "bytes=0-0") != "bytes=0-0":
            with gate:
                time.sleep(0.8)
        seen.add(request.headers.get("authorization"))
        return refuse(request, asker)
    cloud.rule.refuse = one_by_one
    need(cloud.read(cloud.gke, f"gs://{BUCKET}/renewed", "renewed", **cloud.tokens()) == body, "contents")
    need(len(seen) >= 2, f"{len(seen)} tokens")
