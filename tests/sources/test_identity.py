"""What rotates while a fill runs: the pod's token. Against the stand-in for AWS STS, whose sessions end soon."""

import hashlib
import threading

import grpc
from harness import need, test, wait_until
from test_aws import BUCKET, Cloud, large_object
from tokens import BadToken


class Waits:
    """Parts of objects are given when the test says so."""

    def __init__(self, rule):
        self.rule, self.asked, self.go = rule, threading.Event(), threading.Event()

    def principal_of(self, request):
        return self.rule.principal_of(request)

    def refuse(self, request, principal):
        if request.headers.get("range", "bytes=0-0") != "bytes=0-0":
            self.asked.set()
            self.go.wait(60)
        return self.rule.refuse(request, principal)


def try_publish(pod, cloud, text):
    """As kubelet does when a call takes too long: the fill goes on."""
    try:
        pod.publish(f"s3://{BUCKET}/rotated", storageClass=cloud.role_class, timeout=3, **text)
    except grpc.RpcError as error:
        need(error.code() in (grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED), error.details())
        return
    raise AssertionError("published without its parts")


def is_over(cluster, text):
    try:
        cluster.verify(text, "sts.amazonaws.com")
    except BadToken:
        return True
    return False


@test("identity rotated-token-reaches-a-running-fill", slow=True)
def rotated(world):
    """The token that the fill began with and the session that it gave are over: only the token of a later publish can go on."""
    cloud = Cloud(world, "rotated")
    digest = large_object(world, "rotated")
    cloud.sts.tokens.next_lives(4)
    waits = cloud.guard.rule = Waits(cloud.guard.rule)
    pod = cloud.pod()
    first = cloud.tokens(seconds=8)
    try_publish(pod, cloud, first)
    need(waits.asked.wait(10), "no part was asked for")
    old = cloud.sts.seen[0].form["WebIdentityToken"]
    wait_until(lambda: is_over(world.cluster, old), 20, "the first token is over")
    second = cloud.tokens()
    try_publish(pod, cloud, second)
    waits.go.set()
    pod.publish_as_kubelet(f"s3://{BUCKET}/rotated", storageClass=cloud.role_class, **second)
    need(hashlib.sha256(pod.read("rotated")).digest() == digest, "contents")
    pod.unpublish_as_kubelet()
    shown = [request.form["WebIdentityToken"] for request in cloud.sts.seen]
    need(len(shown) == 2 and shown[1] != old and shown[1] in next(iter(second.values())), f"{len(shown)} questions to STS")
