"""The bench itself: a stand-in refuses what its table does not have, its faults come on order, tokens end in their time."""

import json
import re
import threading
import urllib.error
import urllib.request

import credential_service
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
