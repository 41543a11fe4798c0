"""AWS identities: a service account's role at STS, EKS Pod Identity, the node's role; against versitygw behind a guard that knows every
session that was given out. AWS's own client (boto3) passes against each stand-in first."""

import concurrent.futures
import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
import time

import aws_metadata
import aws_pod_identity
import aws_sts
import guard
import harness
from harness import Code, expect, need, test
from tokens import Cluster

BUCKET = "aws-private"
BODY = b"private " * 1000
READER, STRANGER = "arn:aws:iam::123456789012:role/reader", "arn:aws:iam::123456789012:role/stranger"
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
LOCK = threading.Lock()


class Sessions:
    """The sessions of several services, for one guard."""

    def __init__(self, *tokens):
        self.tokens = tokens

    @property
    def issued(self):
        return {value: token for tokens in self.tokens for value, token in list(tokens.issued.items())}

    def find(self, value):
        return self.issued.get(value)


class Cloud:
    """A bucket that role reader may read, with all that gives out its keys. A test that counts or breaks something makes its own."""

    def __init__(self, world, name, bucket=BUCKET):
        self.world, self.bucket, self.cluster = world, bucket, world.cluster
        with LOCK:
            if not getattr(world, "aws_bucket_is_there", False):
                world.versity.make_bucket(BUCKET, readers=["alice"])
                world.versity.put(BUCKET, "data", BODY)
                world.aws_bucket_is_there = True
        self.sts = world.kept(aws_sts.Sts(self.cluster, world.versity, tls=world.tls))
        self.sts.roles[READER] = aws_sts.Role("alice", {"team-a/reader"})
        self.sts.roles[STRANGER] = aws_sts.Role("bob", {"team-a/stranger", "team-a/reader"})
        self.agent = world.kept(aws_pod_identity.PodIdentity(self.cluster, world.versity))
        self.agent.associations["team-a/reader"] = "alice"
        self.imds = world.kept(aws_metadata.Metadata(world.versity, "node-role", "alice"))
        self.guard = world.guard(world.versity.port, guard.AwsSession(Sessions(self.sts.tokens, self.agent.tokens, self.imds.tokens), static=False))
        self.endpoint = self.guard.url().rstrip("/")
        self.name = name
        self.role_class = self.add_class("role", awsRoleArn=READER)
        self.plain_class = self.add_class("plain")
        self.node_class = self.add_class("node", nodeIdentity="true")

    def add_class(self, kind, **parameters):
        return self.world.add_class(f"aws-{self.name}-{kind}", **{
            "s3Endpoint": self.endpoint, "awsStsEndpoint": self.sts.url("").rstrip("/"), "awsPodIdentityEndpoint": self.agent.url(""),
            "awsMetadataEndpoint": self.imds.url(""), **parameters})

    def tokens(self, account="reader", audiences=(aws_sts.AUDIENCE,), seconds=3600, cluster=None):
        return {TOKENS: (cluster or self.cluster).pod_tokens("team-a", account, audiences, seconds)}

    def pod(self, account="reader", node=None):
        pod = (node or self.world.node).pod(f"aws-{account}")
        context = pod.context
        pod.context = lambda attributes: {**context(attributes), "csi.storage.k8s.io/serviceAccount.name": account}
        return pod

    def read(self, storage_class, account="reader", key="data", **attributes):
        pod = self.pod(account)
        messages = pod.publish_as_kubelet(f"s3://{self.bucket}/{key}", storageClass=storage_class, **attributes)
        body = pod.read(key)
        pod.unpublish_as_kubelet()
        return body, messages

    def refused(self, code, storage_class, *words, account="reader", timeout=40, **attributes):
        pod = self.pod(account)
        return pod.final(code, lambda: pod.publish(f"s3://{self.bucket}/data", storageClass=storage_class, timeout=timeout, **attributes), *words)


# --- AWS's own client ---

CLIENT = """
import boto3, botocore.exceptions, json, sys
try:
    got = boto3.Session().client("s3", region_name="us-east-1").get_object(Bucket=sys.argv[1], Key="data")
    print(json.dumps(["ok", len(got["Body"].read())]))
except botocore.exceptions.ClientError as error:
    print(json.dumps([error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]]))
except botocore.exceptions.BotoCoreError as error:
    print(json.dumps([type(error).__name__, str(error)[:300]]))
"""


def boto(cloud, **environment):
    """What boto3 makes of an environment such as a pod's."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    settings = {"AWS_ENDPOINT_URL_S3": cloud.endpoint, "AWS_CA_BUNDLE": str(cloud.world.nginx.ca), "AWS_MAX_ATTEMPTS": "1", "HOME": "/nonexistent",
                "AWS_CONFIG_FILE": "/dev/null", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", **environment}
    done = subprocess.run([sys.executable, "-c", CLIENT, cloud.bucket], env={**inherited, **settings}, capture_output=True, text=True, timeout=100, check=False)
    need(done.returncode == 0, done.stderr[-600:])
    return json.loads(done.stdout)


def token_file(name, text):
    path = harness.WORK / f"aws-token-{name}"
    path.write_text(text)
    return str(path)


@test("aws-client web-identity", slow=True)
def client_sts(world):
    cloud = Cloud(world, "client-sts")

    def ask(name, role, token):
        return boto(cloud, AWS_ENDPOINT_URL_STS=cloud.sts.url(), AWS_ROLE_ARN=role, AWS_WEB_IDENTITY_TOKEN_FILE=token_file(name, token), AWS_EC2_METADATA_DISABLED="true")
    mint = functools.partial(cloud.cluster.mint, "team-a")
    cases = (
        ("good", READER, mint("reader", aws_sts.AUDIENCE), ["ok", len(BODY)]),
        ("no-right", STRANGER, mint("stranger", aws_sts.AUDIENCE), ["AccessDenied", 403]),
        ("untrusted", READER, mint("stranger", aws_sts.AUDIENCE), ["AccessDenied", 403]),
        ("audience", READER, mint("reader", "other"), ["InvalidIdentityToken", 400]),
        ("expired", READER, mint("reader", aws_sts.AUDIENCE, seconds=-5), ["ExpiredTokenException", 400]),
        ("issuer", READER, Cluster().mint("team-a", "reader", aws_sts.AUDIENCE), ["InvalidIdentityToken", 400]),
    )
    for name, role, token, expected in cases:
        got = ask(name, role, token)
        need(got == expected, f"{name}: {got}")
    need(not cloud.sts.complaints and cloud.sts.count("assume_role") == len(cases), f"{cloud.sts.complaints} {cloud.sts.count('assume_role')}")


@test("aws-client container-credentials", slow=True)
def client_agent(world):
    cloud = Cloud(world, "client-agent")

    def ask(name, account, **claims):
        path = token_file(f"pod-{name}", cloud.cluster.mint("team-a", account, aws_pod_identity.AUDIENCE, **claims))
        return boto(cloud, AWS_CONTAINER_CREDENTIALS_FULL_URI=cloud.agent.url("/v1/credentials"), AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=path, AWS_EC2_METADATA_DISABLED="true")
    need(ask("good", "reader") == ["ok", len(BODY)], "good")
    for name, account, claims in (("none", "stranger", {}), ("expired", "reader", {"seconds": -5})):
        got = ask(name, account, **claims)
        need(got[0] == "CredentialRetrievalError", f"{name}: {got}")
    need(not cloud.agent.complaints, cloud.agent.complaints)


@test("aws-client metadata", slow=True)
def client_metadata(world):
    cloud = Cloud(world, "client-imds")
    got = boto(cloud, AWS_EC2_METADATA_SERVICE_ENDPOINT=cloud.imds.url("/"))
    need(got == ["ok", len(BODY)] and cloud.imds.count("session") >= 1 and cloud.imds.count("keys") >= 1, f"{got} {cloud.imds.complaints}")
    cloud.imds.node_role = None
    got = boto(cloud, AWS_EC2_METADATA_SERVICE_ENDPOINT=cloud.imds.url("/"))
    need(got[0] == "NoCredentialsError" and not cloud.imds.complaints, f"{got} {cloud.imds.complaints}")


# --- the role of a service account ---

@test("aws role reads-a-private-bucket")
def role(world):
    cloud = Cloud(world, "role")
    body, _ = cloud.read(cloud.role_class, **cloud.tokens())
    need(body == BODY, "contents")
    request = cloud.sts.requests("assume_role")[0]
    need(request.form["RoleSessionName"] == "team-a.reader" and "DurationSeconds" not in request.form, str(request.form.keys()))
    need({record["principal"] for record in cloud.guard.requests()} == {READER}, guard.trace(cloud.guard.requests()))
    need(cloud.agent.count() == 0 and cloud.imds.count() == 0, "nobody else was asked")
    # In the secrets, as newer CSIDriver objects have it.
    pod = cloud.pod()
    pod.publish_as_kubelet(f"s3://{BUCKET}/data", storageClass=cloud.role_class, secrets=cloud.tokens())
    need(pod.read("data") == BODY, "contents")
    pod.unpublish_as_kubelet()


@test("aws row-33 tokens-that-are-refused")
def refused_tokens(world):
    cloud = Cloud(world, "refused")
    stranger = cloud.add_class("stranger", awsRoleArn=STRANGER)
    cloud.refused(Code.UNAUTHENTICATED, cloud.role_class, "audience sts.amazonaws.com", **cloud.tokens(audiences=("other",)))
    need(cloud.sts.count() == 0, "a token for somebody else went out")
    cloud.refused(Code.UNAUTHENTICATED, cloud.role_class, "InvalidIdentityToken", "identity provider", **cloud.tokens(cluster=Cluster()))
    expired = json.loads(cloud.tokens(seconds=-60)[TOKENS])
    cloud.refused(Code.UNAUTHENTICATED, cloud.role_class, "expired", **{TOKENS: json.dumps(expired)})
    cloud.refused(Code.PERMISSION_DENIED, cloud.role_class, f"role {READER} may not be assumed by service account team-a/stranger", "trust policy",
                  account="stranger", **cloud.tokens("stranger"))
    cloud.refused(Code.PERMISSION_DENIED, stranger, f"asked with role {STRANGER}", "AccessDenied", account="stranger", **cloud.tokens("stranger"))
    need(cloud.guard.count(refused=False) == 1, "only the last one reached the store")


@test("aws role neighbours-on-what-is-cached")
def neighbours(world):
    cloud = Cloud(world, "neighbours")
    stranger = cloud.add_class("stranger", awsRoleArn=STRANGER)
    need(cloud.read(cloud.role_class, **cloud.tokens())[0] == BODY, "the first one fills")
    cloud.refused(Code.PERMISSION_DENIED, cloud.role_class, "trust policy", account="stranger", **cloud.tokens("stranger"))
    cloud.refused(Code.PERMISSION_DENIED, stranger, "AccessDenied", account="stranger", **cloud.tokens("stranger"))
    cloud.refused(Code.PERMISSION_DENIED, cloud.plain_class, "without credentials", account="stranger")
    need(cloud.read(cloud.role_class, **cloud.tokens())[0] == BODY, "and goes on being served")


@test("aws sts down-slow-throttled", slow=True)
def sts_faults(world):
    cloud = Cloud(world, "sts-faults")
    cloud.sts.next(400, aws_sts.refusal(400, "IDPCommunicationError", "later").answer.body, "text/xml")
    cloud.sts.next(503)
    need(cloud.read(cloud.role_class, **cloud.tokens())[0] == BODY, "after two failures")
    need(cloud.sts.count() == 3, f"{cloud.sts.count()} requests")
    cloud = Cloud(world, "sts-garbage")
    cloud.sts.next(200, b"<html>", "text/html", times=1)
    cloud.refused(Code.FAILED_PRECONDITION, cloud.role_class, "AWS STS", "XML", **cloud.tokens())
    cloud = Cloud(world, "sts-down")
    pod = cloud.pod()
    with cloud.sts.is_down():
        expect((Code.UNAVAILABLE, Code.ABORTED), lambda: pod.publish(f"s3://{BUCKET}/data", storageClass=cloud.role_class, timeout=40, **cloud.tokens()), "AWS STS|resolv")
    need(pod.publish_as_kubelet(f"s3://{BUCKET}/data", storageClass=cloud.role_class, **cloud.tokens()) is not None and pod.read("data") == BODY, "up again")
    pod.unpublish_as_kubelet()
    cloud = Cloud(world, "sts-slow")
    cloud.sts.slow(3)
    need(cloud.read(cloud.role_class, **cloud.tokens())[0] == BODY, "slow")


@test("aws sts retry-after", slow=True)
def sts_throttled(world):
    cloud = Cloud(world, "sts-throttled")
    cloud.sts.next(429, b"slow down", headers={"Retry-After": "4"})
    need(cloud.read(cloud.role_class, **cloud.tokens())[0] == BODY, "throttled")
    first, second = (request.started for request in cloud.sts.requests("assume_role")[:2])
    need(second - first >= 4, f"asked again after {second - first:.1f} s, not 4")


# --- long fills ---

LARGE = 48 << 20


def large_object(world, key):
    body = hashlib.shake_128(key.encode()).digest(LARGE)
    world.versity.put(BUCKET, key, body)
    return hashlib.sha256(body).digest()


@test("aws role renewed-during-a-fill", slow=True)
def renewed(world):
    """Sessions that last three seconds; the store stops to take them in between, and the fill goes on with others."""
    cloud = Cloud(world, "renewed")
    digest = large_object(world, "renewed")
    cloud.sts.tokens.next_lives(*[3] * 50)
    rule, gate, seen = cloud.guard.rule, threading.Lock(), set()

    class OneByOne:
        """Parts wait for each other, so that the fill outlives its sessions."""
        def principal_of(self, request):
            return rule.principal_of(request)

        def refuse(self, request, principal):
            if request.headers.get("range", "bytes=0-0") != "bytes=0-0":
                with gate:
                    time.sleep(0.8)
            seen.add(request.headers.get("x-amz-security-token"))
            return rule.refuse(request, principal)
    cloud.guard.rule = OneByOne()
    pod = cloud.pod()
    pod.publish_as_kubelet(f"s3://{BUCKET}/renewed", storageClass=cloud.role_class, **cloud.tokens())
    need(hashlib.sha256(pod.read("renewed")).digest() == digest, "contents")
    pod.unpublish_as_kubelet()
    need(len(seen) >= 2, f"{len(seen)} sessions")


@test("aws role session-revoked-during-a-fill", slow=True)
def revoked(world):
    """ExpiredToken in the middle leads to a new session, not to a failure."""
    cloud = Cloud(world, "revoked")
    digest = large_object(world, "revoked")
    rule, done = cloud.guard.rule, threading.Event()

    class Revokes:
        def principal_of(self, request):
            return rule.principal_of(request)

        def refuse(self, request, principal):
            if request.headers.get("range", "").startswith("bytes=16777216-") and not done.is_set():
                done.set()
                cloud.sts.tokens.revoke()
            return rule.refuse(request, principal)
    cloud.guard.rule = Revokes()
    pod = cloud.pod()
    pod.publish_as_kubelet(f"s3://{BUCKET}/revoked", storageClass=cloud.role_class, **cloud.tokens())
    need(done.is_set() and hashlib.sha256(pod.read("revoked")).digest() == digest, "contents")
    pod.unpublish_as_kubelet()
    refused = cloud.guard.requests(refused=True)
    need(refused and all(record["status"] == 400 for record in refused), guard.trace(refused))
    need(cloud.sts.count() == 2, f"{cloud.sts.count()} sessions")


# --- Pod Identity and the node ---

BOTH = (aws_sts.AUDIENCE, aws_pod_identity.AUDIENCE)


@test("aws pod-identity reads-a-private-bucket")
def pod_identity(world):
    cloud = Cloud(world, "pod-identity")
    need(cloud.read(cloud.plain_class, **cloud.tokens(audiences=BOTH))[0] == BODY, "contents")
    need(cloud.agent.count("credentials") == 1 and cloud.sts.count() == 0 and cloud.imds.count() == 0, "who was asked")
    cloud.refused(Code.PERMISSION_DENIED, cloud.plain_class, "without credentials", account="stranger", **cloud.tokens("stranger", BOTH))
    cloud.agent.next(400, aws_pod_identity.refusal(400, "AccessDeniedException", "no").answer.body, "text/plain")
    cloud.refused(Code.PERMISSION_DENIED, cloud.node_class, "EKS Pod Identity", "AccessDeniedException", **cloud.tokens(audiences=BOTH))
    need(cloud.imds.count() == 0, "who has an identity never gets the node's")
    need(cloud.sts.count() == 0, "STS is asked for roles only")


@test("aws node-identity only-where-the-class-says-so")
def node_identity(world):
    cloud = Cloud(world, "node-identity")
    cloud.refused(Code.PERMISSION_DENIED, cloud.plain_class, "without credentials")
    cloud.refused(Code.PERMISSION_DENIED, cloud.plain_class, "without credentials", **cloud.tokens())
    cloud.refused(Code.PERMISSION_DENIED, cloud.plain_class, "without credentials", account="stranger", **cloud.tokens("stranger", BOTH))
    need(not cloud.imds.seen, f"{len(cloud.imds.seen)} requests to the metadata service")
    need(cloud.read(cloud.node_class)[0] == BODY, "the node's role")
    need(cloud.imds.count("session") >= 1 and cloud.imds.count("keys") >= 1, "by IMDSv2")
    role_and_node = cloud.add_class("role-and-node", awsRoleArn=READER, nodeIdentity="true")
    before = len(cloud.imds.seen)
    cloud.refused(Code.PERMISSION_DENIED, role_and_node, "trust policy", account="stranger", **cloud.tokens("stranger"))
    cloud.refused(Code.UNAUTHENTICATED, role_and_node, "audience", account="stranger")
    need(len(cloud.imds.seen) == before, "a pod with a role was given the node's")


@test("aws role fifty-pods-at-once", slow=True)
def fifty(world):
    cloud = Cloud(world, "fifty")
    attributes = cloud.tokens()

    def one(_):
        return cloud.read(cloud.role_class, **attributes)[0] == BODY
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        need(all(pool.map(one, range(50))), "contents")
    need(cloud.sts.count("assume_role") <= 3 and cloud.sts.peak <= 4, f"{cloud.sts.count('assume_role')} requests, {cloud.sts.peak} at one time")
