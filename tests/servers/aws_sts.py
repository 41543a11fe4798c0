"""A strict stand-in for AWS STS: AssumeRoleWithWebIdentity of API version 2011-06-15, and nothing else.

    sts = Sts(cluster, server, tls=world.tls)
    sts.roles["arn:aws:iam::123456789012:role/reader"] = Role("alice", {"team-a/reader"})
    guard.AwsSession(sts.tokens)                 # the guard that knows the sessions given out

A role's keys are those of an account of the S3 server; each session has a token of its own. The token is verified against the cluster's
key; a role trusts (namespace/account) subjects for an audience, as the conditions of a trust policy do. boto3 passes against it
(tests/sources/test_aws.py).
"""

import datetime
import re

from credential_service import ANY, Answer, May, Refusal, Route, Service
from tokens import BadToken, Tokens

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
AUDIENCE = "sts.amazonaws.com"
# What AWS's own clients send beside.
CLIENT_HEADERS = {"amz-sdk-invocation-id": May(), "amz-sdk-request": May(), "x-amz-user-agent": May()}


class Role:
    def __init__(self, account, subjects, audience=AUDIENCE, longest=3600):
        """account: whose keys of the S3 server it gets; subjects: of service accounts, "namespace/name"."""
        self.account, self.audience, self.longest = account, audience, longest
        self.subjects = {f"system:serviceaccount:{subject.replace('/', ':')}" for subject in subjects}


def time_text(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def refusal(status, code, message):
    body = (f'<ErrorResponse xmlns="{NAMESPACE}">\n  <Error>\n    <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{message}</Message>\n'
            f"  </Error>\n  <RequestId>00000000-0000-0000-0000-000000000000</RequestId>\n</ErrorResponse>\n")
    return Refusal(status, body, "text/xml")


def is_duration(value):
    return (value.isdigit() and 900 <= int(value) <= 43200) or "is not 900 to 43200"


class Sts(Service):
    headers = CLIENT_HEADERS
    routes = [Route("POST", "/", "assume_role", form={
        "Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}"),
        "RoleSessionName": re.compile(r"[\w+=,.@-]{2,64}"), "WebIdentityToken": re.compile(r".{4,20000}", re.S), "DurationSeconds": May(is_duration)},
        headers={"accept": May(ANY), "content-type": re.compile(r"application/x-www-form-urlencoded(; charset=utf-8)?")})]

    def __init__(self, cluster, server, **options):
        super().__init__(tokens=Tokens("FwoGZXIvYXdzE"), **options)
        self.cluster, self.s3, self.roles = cluster, server, {}

    def claims_of(self, token, audience):
        try:
            return self.cluster.verify(token, audience)
        except BadToken as error:
            if error.reason == "expired":
                raise refusal(400, "ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time") from error
            raise refusal(400, "InvalidIdentityToken", {
                "audience": "Incorrect token audience", "issuer": "No OpenIDConnect provider found in your account for the issuer"}.get(
                    error.reason, "Couldn't retrieve verification key from your identity provider")) from error

    def assume_role(self, request):
        form = request.form
        role = self.roles.get(form["RoleArn"])
        claims = self.claims_of(form["WebIdentityToken"], role.audience if role else AUDIENCE)
        if not role or claims["sub"] not in role.subjects:
            raise refusal(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        seconds = int(form.get("DurationSeconds", "3600"))
        if seconds > role.longest:
            raise refusal(400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        keys = self.s3.keys[role.account]
        token = self.tokens.issue(form["RoleArn"], seconds, access_key=keys.access)
        return Answer(200, self.body(form, claims, keys, token), "text/xml")

    def body(self, form, claims, keys, token):
        account, name = form["RoleArn"].split(":")[4], form["RoleArn"].split("/")[-1]
        audience = claims["aud"] if isinstance(claims["aud"], str) else claims["aud"][0]
        secret = keys.secret.replace("&", "&amp;")
        return f"""<AssumeRoleWithWebIdentityResponse xmlns="{NAMESPACE}">
  <AssumeRoleWithWebIdentityResult>
    <Audience>{audience}</Audience>
    <AssumedRoleUser>
      <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:{form["RoleSessionName"]}</AssumedRoleId>
      <Arn>arn:aws:sts::{account}:assumed-role/{name}/{form["RoleSessionName"]}</Arn>
    </AssumedRoleUser>
    <Provider>arn:aws:iam::{account}:oidc-provider/{self.cluster.issuer.removeprefix("https://")}</Provider>
    <Credentials>
      <AccessKeyId>{keys.access}</AccessKeyId>
      <SecretAccessKey>{secret}</SecretAccessKey>
      <SessionToken>{token.value}</SessionToken>
      <Expiration>{time_text(token.expires)}</Expiration>
    </Credentials>
    <SubjectFromWebIdentityToken>{claims["sub"]}</SubjectFromWebIdentityToken>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata>
    <RequestId>00000000-0000-0000-0000-000000000000</RequestId>
  </ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>
"""
