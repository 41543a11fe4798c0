"""Who a pod is at a cloud: the ServiceAccount's annotations and the volume's attributes, against a strict stand-in for AWS STS and a real
S3 server. Tokens are those of a cluster (tests/servers/tokens.py); the sources suite has the other clouds."""

import concurrent.futures
import contextlib
import types

import aws_sts
import s3
import tokens
from harness import LOOPBACK, Code, expect, need, test
from kubernetes import cluster

READER = "arn:aws:iam::123456789012:role/reader"
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
ACCOUNTS = "/api/v1/namespaces/team-a/serviceaccounts"
RULE = r"resources: \[serviceaccounts\], verbs: \[get\]"
CLUSTER = tokens.Cluster()


@contextlib.contextmanager
def cloud(world, *args, **options):
    """(api, node, sts): a cluster, and a token service where role reader trusts service accounts reader and other of team-a."""
    keys = types.SimpleNamespace(access=s3.ACCESS_KEY, secret=s3.SECRET_KEY)
    sts = aws_sts.Sts(CLUSTER, types.SimpleNamespace(keys={"reader": keys}))
    sts.roles[READER] = aws_sts.Role("reader", {"team-a/reader", "team-a/other"})
    parameters = {**LOOPBACK, "s3Endpoint": world.s3.endpoint, "awsStsEndpoint": sts.url("").rstrip("/")}
    world.s3.put("data", "identity", b"private")
    try:
        with cluster(*args, classes={"api": parameters}, **options) as (api, node):
            yield api, node, sts
        need(not sts.complaints, sts.complaints)
    finally:
        sts.stop()



def annotate(api, name, role):
    api.put(f"{ACCOUNTS}/{name}", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
        "name": name, "annotations": {"eks.amazonaws.com/role-arn": role}}})


class AccountPod:
    """A pod of a service account, with its tokens in one of the two forms."""

    def __init__(self, node, account, in_secrets=False, text=None):
        self.pod, self.account, self.in_secrets, self.text = node.pod(account), account, in_secrets, text

    def publish(self, storage_class="api", seconds=3600, timeout=30, **attributes):
        text = self.text or CLUSTER.pod_tokens("team-a", self.account, [aws_sts.AUDIENCE], seconds)
        context = {"inputs": "s3://data/identity -> x", "storageClass": storage_class, **attributes}
        context = {**self.pod.context(context), "csi.storage.k8s.io/serviceAccount.name": self.account}
        secrets = {TOKENS: text} if self.in_secrets else {}
        return self.pod.node.call("NodePublishVolume", self.pod.request(secrets=secrets, context=context if secrets else {**context, TOKENS: text}),
                                  timeout=timeout)

    def refused(self, code, *words, **options):
        expect(code, lambda: self.publish(**options), *words, absent=("eyJ", s3.SECRET_KEY))

    def reads(self, **options):
        self.publish(**options)
        need(self.pod.read("x") == b"private", "content")
        self.pod.unpublish()


@test("kube service-account-annotation-names-the-role")
def annotation(world):
    with cloud(world) as (api, node, sts):
        annotate(api, "reader", READER)
        annotate(api, "stranger", READER)
        for number in range(4):
            AccountPod(node, "reader", in_secrets=number % 2 == 1).reads()
        need(len(api.asked(f"GET {ACCOUNTS}/reader")) == 1, "one look at the ServiceAccount for all its pods")
        need(len(sts.seen) == 1, f"{len(sts.seen)} questions to STS for one identity")
        AccountPod(node, "stranger").refused(Code.PERMISSION_DENIED, "role/reader may not be assumed by service account team-a/stranger")
        AccountPod(node, "nobody").refused((Code.PERMISSION_DENIED, Code.UNAUTHENTICATED), "input 1")
        need(api.asked(f"GET {ACCOUNTS}/nobody"), "a ServiceAccount that is not there was not looked for")


@test("kube attribute-goes-before-annotation-and-class")
def attribute(world):
    with cloud(world) as (api, node, sts):
        other = READER.replace("reader", "unknown")
        annotate(api, "reader", other)
        AccountPod(node, "reader").refused(Code.PERMISSION_DENIED, "role/unknown")
        AccountPod(node, "reader").reads(awsRoleArn=READER)
        annotate(api, "other", READER)
        AccountPod(node, "other").refused(Code.PERMISSION_DENIED, "role/unknown", awsRoleArn=other)
        AccountPod(node, "other").refused(Code.INVALID_ARGUMENT, "awsRoleArn", "ARN of an IAM role", awsRoleArn="reader")


@test("kube wave-with-a-wrong-role-asks-once")
def wave(world):
    """Refused at the token service: pods that come together ask together, and each hears why."""
    with cloud(world) as (api, node, sts):
        annotate(api, "stranger", READER)
        text = CLUSTER.pod_tokens("team-a", "stranger", [aws_sts.AUDIENCE])
        pods = [AccountPod(node, "stranger", text=text) for _ in range(8)]
        with concurrent.futures.ThreadPoolExecutor(len(pods)) as pool:
            for future in [pool.submit(pod.refused, Code.PERMISSION_DENIED, "may not be assumed") for pod in pods]:
                future.result()
        need(len(sts.seen) < len(pods) / 2, f"{len(sts.seen)} questions to STS by {len(pods)} pods")


@test("kube service-account-that-may-not-be-read-is-told")
def forbidden(world):
    with cloud(world) as (api, node, sts):
        annotate(api, "reader", READER)
        api.forbidden.append("GET .*/serviceaccounts/")
        AccountPod(node, "reader").refused((Code.PERMISSION_DENIED, Code.UNAUTHENTICATED), RULE)
        AccountPod(node, "reader").reads(awsRoleArn=READER)
        annotate(api, "odd", "reader")
        api.forbidden.clear()
        AccountPod(node, "odd").refused((Code.PERMISSION_DENIED, Code.UNAUTHENTICATED), "'eks.amazonaws.com/role-arn' of ServiceAccount team-a/odd")
        node.pod("public").publish(world.file("identity/public.txt", b"x"), storageClass="api")


@test("kube service-account-is-waited-for-while-the-api-is-away")
def away(world):
    with cloud(world) as (api, node, sts):
        annotate(api, "reader", READER)
        annotate(api, "other", READER)
        AccountPod(node, "reader").reads()
        api.hang()
        pod = AccountPod(node, "other")
        pod.refused(Code.UNAVAILABLE, "ServiceAccount team-a/other cannot be read")
        AccountPod(node, "reader").reads()
        AccountPod(node, "other").reads(awsRoleArn=READER)
        api.resume()
        pod.reads()


@test("kube token-that-expired-is-refused-before-anybody-is-asked")
def expired(world):
    with cloud(world) as (api, node, sts):
        annotate(api, "reader", READER)
        AccountPod(node, "reader").refused(Code.UNAUTHENTICATED, "kubelet will bring a new one", seconds=-60)
        need(not sts.seen and not api.asked("serviceaccounts"), "somebody was asked")
        AccountPod(node, "reader").reads()
