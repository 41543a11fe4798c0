"""A strict stand-in for the instance metadata service, version 2 alone: a session by PUT, then the node's role, its keys, its region.

    imds = Metadata(server, role="node-role", account="alice", region="eu-west-3")

A request without a session's token is refused with 401, as where version 1 is off; one that was forwarded (X-Forwarded-For) with 403. boto3's
fetcher passes against it.
"""

import re
import time

from aws_sts import time_text
from credential_service import Answer, May, Refusal, Route, Service
from tokens import Tokens

TTL = "x-aws-ec2-metadata-token-ttl-seconds"
SESSION = "x-aws-ec2-metadata-token"
ROLES = "/latest/meta-data/iam/security-credentials/"


def is_ttl(value):
    return (value.isdigit() and 1 <= int(value) <= 21600) or "is not 1 to 21600"


def plain(status, text=""):
    return Answer(status, text, "text/plain")


class Metadata(Service):
    hosts = ("169.254.169.254", "[fd00:ec2::254]")
    headers = {"x-forwarded-for": May()}
    routes = [
        Route("PUT", "/latest/api/token", "session", headers={TTL: is_ttl}),
        Route("GET", ROLES, "role", headers={SESSION: May()}),
        Route("GET", re.compile(f"{ROLES}(?P<role>[\\w+=,.@-]+)"), "keys", headers={SESSION: May()}),
        Route("GET", "/latest/meta-data/placement/region", "region", headers={SESSION: May()}),
    ]

    def __init__(self, server, role=None, account=None, region="us-east-1", **options):
        """role None: the node has none."""
        super().__init__(tokens=Tokens("IQoJb3JpZ2luX2Vj"), **options)
        self.s3, self.node_role, self.account, self.node_region = server, role, account, region
        self.sessions = Tokens("AQAEA")

    def session(self, request):
        if "x-forwarded-for" in request.headers:
            raise Refusal(403, "", "text/plain")
        token = self.sessions.issue("node", int(request.headers[TTL]))
        return Answer(200, token.value, "text/plain", {TTL: request.headers[TTL]})

    def check_session(self, request):
        token = self.sessions.find(request.headers.get(SESSION, ""))
        if not token or token.over:
            raise Refusal(401, "", "text/plain")

    def role(self, request):
        self.check_session(request)
        return plain(200, self.node_role) if self.node_role else plain(404)

    def keys(self, request):
        self.check_session(request)
        if request.groups["role"] != self.node_role:
            return plain(404)
        keys = self.s3.keys[self.account]
        token = self.tokens.issue("node", access_key=keys.access)
        return Answer(200, {"Code": "Success", "LastUpdated": time_text(time.time()), "Type": "AWS-HMAC", "AccessKeyId": keys.access,
                            "SecretAccessKey": keys.secret, "Token": token.value, "Expiration": time_text(token.expires)}, "text/plain")

    def region(self, request):
        self.check_session(request)
        return plain(200, self.node_region)
