"""Pods that show a source their service account and nothing else: tokens that kubelet brings, keys that AWS STS gives for them."""

import pathlib
import types

import aws_sts
import control_plane
import guard
import s3
from cryptography.hazmat.primitives import serialization
from harness import need, noise, sha256, test
from tokens import verify_jwt

ROLE = "arn:aws:iam::123456789012:role/datasets"
ANNOTATION = "eks.amazonaws.com/role-arn"
SUM = "sha256sum </inputs/key"


class Issuer:
    """The cluster's API server: what STS knows of it is the public half of the key that it signs with."""
    issuer = control_plane.ISSUER

    def __init__(self, plane):
        self.key = serialization.load_pem_public_key(pathlib.Path(plane.pki.path("sa.pub")).read_bytes())

    def verify(self, token, audience):
        return verify_jwt(token, self.key, self.issuer, audience)


class TokenService:
    """STS, and a bucket's server that takes only sessions from it."""

    def __init__(self, world):
        keys = types.SimpleNamespace(access=s3.ACCESS_KEY, secret=s3.SECRET_KEY)
        self.sts = aws_sts.Sts(Issuer(world.cluster.plane), types.SimpleNamespace(keys={"root": keys}))
        self.sts.roles[ROLE] = aws_sts.Role("root", set())
        self.guard = guard.Guard(world.s3.port, guard.AwsSession(self.sts.tokens, static=False))

    def trust(self, namespace, account):
        self.sts.roles[ROLE].subjects.add(f"system:serviceaccount:{namespace}:{account}")

    def parameters(self):
        return {"s3Endpoint": self.guard.url().rstrip("/"), "s3Region": s3.REGION, "awsStsEndpoint": self.sts.url("").rstrip("/")}

    def stop(self):
        self.guard.stop()
        self.sts.stop()


@test("service-account-reads-a-private-bucket-and-its-neighbour-does-not")
def service_accounts(world, case):
    data = noise("identity", 300000)
    service = world.token_service
    world.s3.put("data", "identity/key", data)
    for account in ("reader", "neighbour"):
        case.create("ServiceAccount", account, metadata={"annotations": {ANNOTATION: ROLE}})
    service.trust(case.namespace, "reader")
    volume = case.inline("s3://data/identity/key", "by-token")
    output = case.run("reader", SUM, volume, serviceAccountName="reader")
    need(output == f"{sha256(data)}  -\n", output)
    fetched = service.guard.count(refused=False)
    # It is in the cache by now. The neighbour names the same role, which does not trust it.
    case.pod("neighbour", "true", volume, serviceAccountName="neighbour")
    message = case.wait_message("neighbour", "FailedMount.*input 1.*AccessDenied|FailedMount.*input 1.*may not be assumed")
    need(f"{case.namespace}/neighbour" in message and ROLE in message, message)
    world.notes.append(f"the neighbour's event: {message}")
    # One without a role is nobody.
    case.pod("nobody", "true", volume)
    message = case.wait_message("nobody", "FailedMount.*input 1.*403")
    need(service.guard.count(refused=False) == fetched, "somebody who was refused was served")
    output = case.run("again", SUM, volume, serviceAccountName="reader")
    need(output == f"{sha256(data)}  -\n", output)
    need(not service.sts.complaints, service.sts.complaints)
    shown = " ".join(case.messages()) + world.log_of_plugin()
    need(not [token for token in service.sts.tokens.issued if token in shown], "a session token in an event or in the log")
    for name in ("neighbour", "nobody"):
        case.delete_pod(name)
