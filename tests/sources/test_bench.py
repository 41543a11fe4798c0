"""The bench itself: a stand-in refuses what its table does not have, its faults come on order, tokens end in their time."""

import json
import re
import ssl
import threading
import time
import urllib.error
import urllib.request

import azure.core.credentials as azure_credentials
import azure.core.exceptions as azure_errors
import azurite
import botocore.exceptions
import credential_service
import guard
from credential_service import ANY, Answer, May, Refusal, Route, Service, one_of
from harness import need, test, wait_until
from tokens import BadToken, Cluster, Tokens

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Example(Service):
    routes = [
        Route("POST", "/token", "token", form={"grant": "please", "scope": May(one_of("read", "write")), "subject": ANY}, headers={"x-must": "1"}),
        Route("POST", re.compile(r"/v1/(?P<account>[a-z]+):generate"), "generate",
              json={"scope": [re.compile("https://.*")], "deep": {"a": May("b")}}, query={"alt": May("json")}),
    ]

    def token(self, request):
        if request.form["subject"] == "mallory":
            raise Refusal(401, {"error": "no"})
        token = self.tokens.issue(request.form["subject"])
        return Answer(200, {"access_token": token.value, "expires_in": token.seconds_left})

    def generate(self, request):
        return Answer(200, {"account": request.groups["account"]})


def ask(service, path, body, headers, method="POST"):
    """(status, headers, text)"""
    request = urllib.request.Request(service.url(path), data=body.encode(), headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


GOOD = ("/token", "grant=please&subject=alice", {**FORM, "X-Must": "1"})
GOOD_JSON = ("/v1/bob:generate?alt=json", json.dumps({"scope": ["https://x"], "deep": {"a": "b"}}), {"content-type": "application/json"})
# What each is refused for, and the words of the complaint.
VIOLATIONS = (
    ("/token", "grant=please", {**FORM, "X-Must": "1"}, "form: subject is missing"),
    ("/token", "grant=please&subject=", {**FORM, "X-Must": "1"}, "form subject: is not"),
    ("/token", "grant=gimme&subject=a", {**FORM, "X-Must": "1"}, "form grant: is not 'please'"),
    ("/token", "grant=please&subject=a&scope=all", {**FORM, "X-Must": "1"}, "form scope: is none of"),
    ("/token", "grant=please&subject=a&more=1", {**FORM, "X-Must": "1"}, "unknown field 'more'"),
    ("/token", "grant=please&subject=a&subject=b", {**FORM, "X-Must": "1"}, "subject stands there twice"),
    ("/token", "grant=please&subject=a&junk", {**FORM, "X-Must": "1"}, "form: bad query field"),
    ("/token", "grant=please&subject=a", FORM, "headers: x-must is missing"),
    ("/token", "grant=please&subject=a", {**FORM, "X-Must": "1", "Authorization": "x"}, "unknown field 'authorization'"),
    ("/token", "grant=please&subject=a", {"content-type": "text/plain", "X-Must": "1"}, "content-type"),
    ("/token", "grant=please&subject=a", {**FORM, "X-Must": "1", "Host": "evil.test"}, "host is 'evil.test'"),
    ("/token?a=b", "grant=please&subject=a", {**FORM, "X-Must": "1"}, "query: unknown field"),
    ("/other", "grant=please&subject=a", FORM, "no such route"),
    ("/v1/bob:generate", "{", GOOD_JSON[2], "not JSON"),
    ("/v1/bob:generate", '{"scope":["https://x"],"deep":{},"deep":{}}', GOOD_JSON[2], "twice"),
    ("/v1/bob:generate", '{"scope":["ftp://x"],"deep":{}}', GOOD_JSON[2], r"scope\[0\]"),
    ("/v1/bob:generate", '{"scope":["https://x"],"deep":{"b":1}}', GOOD_JSON[2], "deep: unknown field"),
    ("/v1/bob:generate", '["scope"]', GOOD_JSON[2], "not an object"),
)


@test("bench stand-ins-refuse-what-their-table-does-not-have")
def strict(_):
    service = Example()
    need(ask(service, *GOOD)[0] == 200 and ask(service, *GOOD_JSON)[0] == 200 and not service.complaints, "good requests")
    for path, body, headers, words in VIOLATIONS:
        status, _, text = ask(service, path, body, headers)
        taken = service.take_complaints()
        need(status == 400 and len(taken) == 1 and re.search(words, taken[0]) and re.search(words, text), f"{words}: {status} {taken}")
    need(ask(service, *GOOD[:2], GOOD[2], method="PUT")[0] == 400 and service.take_complaints(), "another method")
    need(ask(service, "/token", "grant=please&subject=mallory", GOOD[2])[0] == 401 and not service.complaints, "a refusal is no complaint")
    service.stop()


@test("bench stand-ins-have-faults-on-order")
def faults(_):
    service = Example()
    service.next(429, b"later", headers={"Retry-After": "7"})
    service.next(500, times=2)
    replies = [ask(service, *GOOD) for _ in range(4)]
    need([reply[0] for reply in replies] == [429, 500, 500, 200] and replies[0][1]["Retry-After"] == "7", str(replies))
    service.tokens.next_lives(5, -1)
    lives = [json.loads(ask(service, *GOOD)[2])["expires_in"] for _ in range(3)]
    need(lives[0] in (4, 5) and lives[1] == 0 and lives[2] > 3000, str(lives))
    with service.held():
        threads = [threading.Thread(target=ask, args=(service, *GOOD)) for _ in range(5)]
        for thread in threads:
            thread.start()
        wait_until(lambda: service.in_flight == 5, 20, "five at a time")
    for thread in threads:
        thread.join()
    need(service.peak == 5 and service.in_flight == 0 and service.count("token") == 12, f"{service.peak} {service.in_flight} {service.count('token')}")
    with service.is_down():
        try:
            ask(service, *GOOD)
            raise AssertionError("a service that is down answered")
        except urllib.error.URLError as error:
            need(isinstance(error.reason, ConnectionRefusedError), str(error))
    need(ask(service, *GOOD)[0] == 200, "up again")
    service.stop()


def reason_of(call):
    try:
        call()
    except BadToken as error:
        return error.reason
    return "good"


@test("bench tokens-of-the-cluster")
def tokens(_):
    ours, theirs = Cluster(), Cluster()
    good = ours.mint("team-a", "reader", "sts")
    need(ours.verify(good, "sts")["sub"] == "system:serviceaccount:team-a:reader", "subject")
    head, _, signature = good.split(".")
    cases = {"audience": (ours, ours.mint("a", "b", "other")), "expired": (ours, ours.mint("a", "b", "sts", seconds=-5)), "key": (theirs, good),
             "issuer": (ours, ours.mint("a", "b", "sts", iss="https://elsewhere.test")), "malformed": (ours, "a.b"),
             "signature": (ours, f"{head}.{ours.mint('team-a', 'admin', 'sts').split('.')[1]}.{signature}")}
    for reason, (cluster, token) in cases.items():
        got = reason_of(lambda c=cluster, t=token: c.verify(t, "sts"))
        need(got == reason, f"{reason}: {got}")
    issued = Tokens("x-")
    issued.next_lives(0)
    first, second = issued.issue("alice"), issued.issue("bob")
    need(first.over and not second.over and issued.find(first.value) is first and issued.find("no") is None, "opaque tokens")
    issued.revoke("bob")
    need(second.over, "revoked")
    need(credential_service.Service.everyone, "stand-ins are kept in a list")


def boto_error(call):
    """(status, code) of what boto3 raises."""
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return 200, ""


@test("bench s3-servers-verify-signatures-and-page")
def s3_servers(world):
    for server in (world.versity, world.minio):
        kind = type(server).__name__
        server.make_bucket("bench-a", readers=["alice"], versions=True)
        first = server.put("bench-a", "dir/odd name+%ü", b"first")
        second = server.put("bench-a", "dir/odd name+%ü", b"second")
        for number in range(5):
            server.put("bench-a", f"many/{number}", b"x")
        alice = server.client("alice")
        need(alice.get_object(Bucket="bench-a", Key="dir/odd name+%ü")["Body"].read() == b"second", f"{kind}: the newest")
        need(first["VersionId"] != second["VersionId"], f"{kind}: versions")
        old = alice.get_object(Bucket="bench-a", Key="dir/odd name+%ü", VersionId=first["VersionId"], Range="bytes=1-2")
        need(old["Body"].read() == b"ir", f"{kind}: a range of an old version")
        pages = list(alice.get_paginator("list_objects_v2").paginate(Bucket="bench-a", Prefix="many/", PaginationConfig={"PageSize": 2}))
        need([item["Key"] for page in pages for item in page["Contents"]] == [f"many/{n}" for n in range(5)] and len(pages) == 3, f"{kind}: pages {pages}")
        wrong = server.client("alice")
        wrong._request_signer._credentials.secret_key = "wrong" * 5
        need(boto_error(lambda c=wrong: c.get_object(Bucket="bench-a", Key="many/0")) == (403, "SignatureDoesNotMatch"), f"{kind}: a wrong secret")
        need(boto_error(lambda c=server.client(None): c.get_object(Bucket="bench-a", Key="many/0"))[0] in (400, 403), f"{kind}: nobody")
    need(boto_error(lambda: world.versity.client("bob").get_object(Bucket="bench-a", Key="many/0")) == (403, "AccessDenied"), "bob has no right")


@test("bench guard-of-aws-sessions")
def aws_sessions(world):
    server, issued = world.versity, Tokens("FwoG")
    server.make_bucket("bench-sessions", readers=["alice"])
    body = bytes(range(256)) * 5000
    server.put("bench-sessions", "object", body)
    proxy, key = world.guard(server.port, guard.AwsSession(issued)), server.keys["alice"].access

    def ask(session, account="alice"):
        client = server.client(account, endpoint=proxy.url().rstrip("/"), session=session)
        return boto_error(lambda: need(client.get_object(Bucket="bench-sessions", Key="object")["Body"].read() == body, "contents"))
    good = issued.issue("role-a", access_key=key)
    need(ask(good.value) == (200, ""), f"the session: {ask(good.value)}")
    issued.next_lives(-1)
    cases = {(400, "ExpiredToken"): issued.issue("role-a", access_key=key).value, (400, "InvalidToken"): "made-up", (403, "InvalidAccessKeyId"): None}
    for expected, session in cases.items():
        need(ask(session) == expected, f"{expected}: {ask(session)}")
    need(ask(issued.issue("role-b", access_key="ANOTHERKEY").value)[1] == "InvalidToken", "somebody else's session")
    need(ask(None, "root") == (200, ""), "keys that no service gave out")
    need(proxy.count("role-a", refused=False) == 2 and proxy.body_bytes() == 3 * len(body), guard.trace(proxy.requests()))
    # versitygw does not take a session token in a query; the other server has sessions of its own.
    other = world.minio
    other.make_bucket("bench-sessions", readers=["alice"])
    other.put("bench-sessions", "object", body)
    proxy = world.guard(other.port, guard.AwsKeys())
    url = other.client("alice", endpoint=proxy.url().rstrip("/")).generate_presigned_url("get_object", Params={"Bucket": "bench-sessions", "Key": "object"})
    with urllib.request.urlopen(url, timeout=30) as reply:
        need("X-Amz-Security-Token" in url and reply.read() == body and proxy.count(refused=False) == 1, "a presigned URL with a session")


@test("bench guard-of-google-tokens")
def google_tokens(world):
    world.gcs.make_bucket("bench-gcs")
    made = world.gcs.put("bench-gcs", "dir/odd name+%ü", b"0123456789" * 100000)
    issued = Tokens("ya29.")
    proxy = world.guard(world.gcs.port, guard.GoogleBearer(issued, {"alice@p.test": {"bench-gcs"}}), tls=True)
    context = ssl.create_default_context(cafile=world.nginx.ca)
    path = "/storage/v1/b/bench-gcs/o/dir%2Fodd%20name%2B%25%C3%BC"

    def ask(target, token=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            with urllib.request.urlopen(urllib.request.Request(proxy.url(target), headers=headers), timeout=30, context=context) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
    alice, bob = issued.issue("alice@p.test").value, issued.issue("bob@p.test").value
    issued.next_lives(-1)
    over = issued.issue("alice@p.test").value
    status, text = ask(path, alice)
    need(status == 200 and json.loads(text)["generation"] == made["generation"], f"{status} {text[:200]}")
    status, text = ask(path + "?alt=media", alice, Range="bytes=10-14")
    need((status, text) == (206, b"01234"), f"{status} {text[:100]}")
    for token, expected, reason in ((None, 401, "required"), (bob, 403, "forbidden"), (over, 401, "authError"), ("made-up", 401, "authError")):
        status, text = ask(path, token)
        need(status == expected and json.loads(text)["error"]["errors"][0]["reason"] == reason, f"{reason}: {status} {text}")
    status, text = ask("/bench-gcs/dir/odd%20name%2B%25%C3%BC", bob)
    need(status == 403 and b"<Code>AccessDenied</Code>" in text, f"XML: {status} {text}")
    need(proxy.count(refused=False) == 2 and proxy.count("bob@p.test", refused=True) == 2, guard.trace(proxy.requests()))


@test("bench azurite-and-its-guard")
def azure_blobs(world):
    server = world.azurite
    client = server.client(ca=world.nginx.ca)
    client.create_container("bench")
    client.get_blob_client("bench", "dir/odd name+%ü").upload_blob(b"blob" * 1000)
    need(client.get_blob_client("bench", "dir/odd name+%ü").download_blob().readall() == b"blob" * 1000, "SharedKey")
    entra, issued = Cluster(azurite.ISSUER), Tokens()

    def credential(principal, seconds=3600):
        value = entra.mint("x", "y", azurite.AUDIENCE, aud=azurite.AUDIENCE, sub=principal)
        return Bearer(issued.issue(principal, seconds, value=value).value)
    proxy = world.guard(server.port, guard.AzureBearer(issued, {"alice": {"acmeaccount/bench"}}), tls=True, upstream_tls=True)

    def ask(who):
        blob = server.client(port=proxy.port, ca=world.nginx.ca, credential=who).get_blob_client("bench", "dir/odd name+%ü")
        try:
            return len(blob.download_blob().readall())
        except azure_errors.HttpResponseError as error:
            return error.status_code, error.error_code
    cases = ((credential("alice"), 4000), (credential("bob"), (403, "AuthorizationPermissionMismatch")),
             (credential("alice", -1), (401, "InvalidAuthenticationInfo")), (None, 4000))
    for who, expected in cases:
        need(ask(who) == expected, f"{expected}: {ask(who)}")
    with proxy.is_down():
        try:
            ask(None)
            raise AssertionError("a guard that is down answered")
        except azure_errors.ServiceRequestError:
            pass
    need(ask(None) == 4000, "up again")


class Bearer:
    """A token that is there already, for azure-storage-blob."""

    def __init__(self, value):
        self.value = value

    def get_token(self, *_, **__):
        return azure_credentials.AccessToken(self.value, int(time.time()) + 3000)
