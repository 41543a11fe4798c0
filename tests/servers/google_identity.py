"""Strict stand-ins for the services that give out Google's access tokens. google-auth passes against each (tests/sources/test_google.py).

    google = Google(world.cluster, tls=world.tls)
    google.key_file("reader@p.test")             # the text of a service account's key file, of a key made now
    google.oauth.url(""), google.sts.url(""), google.iam.url(""), google.metadata.url("")
    google.sts.providers[PROVIDER] = Provider("acme.svc.id.goog", {"acme.svc.id.goog"})
    google.iam.impersonators["reader@p.test"] = {google.principal("acme.svc.id.goog", "team-a", "reader")}
    google.metadata.account = "node@p.test"      # None: the node has none
    google.tokens                                # all of them; token.details["scope"]

oauth2.googleapis.com/token takes signed assertions (RFC 7523), sts.googleapis.com/v1/token exchanges tokens (RFC 8693), iamcredentials
lets one account become another, the metadata server speaks for the node. A storage token's scope is one of SCOPES.
"""

import datetime
import json
import re
import secrets
import time

import canaries
from credential_service import ANY, Answer, May, Refusal, Route, Service, one_of
from tokens import BadToken, Tokens, private_pem, rsa_key, split_jwt, verify_jwt

READ = "https://www.googleapis.com/auth/devstorage.read_only"
IAM = "https://www.googleapis.com/auth/iam"
PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
SCOPES = {READ, PLATFORM}
AUDIENCE = "https://oauth2.googleapis.com/token"  # what an assertion must say, wherever it is sent
EMAIL = re.compile(r"[a-z0-9.-]+@[a-z0-9.-]+")
# What Google's own client sends beside.
CLIENT_HEADERS = {"x-goog-api-client": May(), "x-allowed-locations": May()}


def oauth_error(status, code, text):
    return Refusal(status, {"error": code, "error_description": text})


def api_error(status, name, text):
    return Refusal(status, {"error": {"code": status, "message": text, "status": name}}, "application/json; charset=UTF-8")


class OAuth(Service):
    headers = CLIENT_HEADERS
    routes = [Route("POST", "/token", "token", form={"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": ANY})]

    def __init__(self, tokens, **options):
        super().__init__(tokens=tokens, **options)
        self.keys = {}  # email: (id, key)

    def claims_of(self, assertion):
        try:
            header, claims, _, _ = split_jwt(assertion)
            key_id, key = self.keys.get(claims.get("iss"), (None, None))
            if not key:
                raise oauth_error(400, "invalid_grant", "Invalid grant: account not found")
            if header.get("typ") != "JWT" or header.get("kid", key_id) != key_id or set(header) - {"alg", "typ", "kid"}:
                raise BadToken("key")
            return verify_jwt(assertion, key.public_key(), audience=AUDIENCE)
        except BadToken as error:
            raise oauth_error(400, "invalid_grant", {
                "signature": "Invalid JWT Signature.", "expired": "Invalid JWT: Token must be a short-lived token (60 minutes)"}.get(
                    error.reason, f"Invalid JWT: {error.reason}")) from error

    def token(self, request):
        claims = self.claims_of(request.form["assertion"])
        now = time.time()
        if set(claims) != {"iss", "scope", "aud", "iat", "exp"}:
            raise oauth_error(400, "invalid_grant", f"Invalid JWT: claims {sorted(claims)}")
        if not now - 60 <= claims["iat"] <= now + 5 or not 0 < claims["exp"] - claims["iat"] <= 3600:
            raise oauth_error(400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")
        if not set(claims["scope"].split()) <= SCOPES:
            raise oauth_error(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        token = self.tokens.issue(claims["iss"], scope=claims["scope"])
        return Answer(200, {"access_token": token.value, "expires_in": token.seconds_left, "token_type": "Bearer"}, "application/json; charset=utf-8")


class Provider:
    """Of a workload identity pool: tokens of the cluster for one of these audiences are taken."""

    def __init__(self, pool, audiences):
        self.pool, self.audiences = pool, set(audiences)


TYPE = "urn:ietf:params:oauth:token-type:"


class Sts(Service):
    headers = CLIENT_HEADERS
    routes = [Route("POST", "/v1/token", "exchange", form={
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": re.compile(r"identitynamespace:[a-z0-9.:-]+:https://\S+|//iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+"),
        "scope": one_of(READ, IAM, PLATFORM), "requested_token_type": TYPE + "access_token", "subject_token": ANY, "subject_token_type": TYPE + "jwt"})]

    def __init__(self, cluster, tokens, **options):
        super().__init__(tokens=tokens, **options)
        self.cluster, self.providers = cluster, {}

    def claims_of(self, token, audiences):
        for audience in sorted(audiences):
            try:
                return self.cluster.verify(token, audience)
            except BadToken as error:
                if error.reason != "audience":
                    raise oauth_error(400, "invalid_grant", f"ID Token: {error.reason}") from error
        raise oauth_error(400, "invalid_grant", "The audience in ID Token does not match the expected audience.")

    def exchange(self, request):
        provider = self.providers.get(request.form["audience"])
        if not provider:
            raise oauth_error(400, "invalid_target", "The target service indicated by the \"audience\" parameters is invalid.")
        claims = self.claims_of(request.form["subject_token"], provider.audiences)
        _, _, namespace, account = claims["sub"].split(":")
        token = self.tokens.issue(principal(provider.pool, namespace, account), scope=request.form["scope"])
        return Answer(200, {"access_token": token.value, "issued_token_type": TYPE + "access_token", "token_type": "Bearer", "expires_in": token.seconds_left})


def is_scopes(value):
    return (isinstance(value, list) and value and set(value) <= SCOPES) or "is no list of scopes for storage"


class Iam(Service):
    headers = CLIENT_HEADERS
    routes = [Route("POST", re.compile(rf"/v1/projects/-/serviceAccounts/(?P<account>{EMAIL.pattern}):generateAccessToken"), "generate", json={
        "scope": is_scopes, "lifetime": May(re.compile(r"\d{1,5}s")), "delegates": May(lambda value: value in (None, []) or "are none of ours")},
        headers={"authorization": re.compile(r"Bearer \S+"), "content-type": re.compile(r"application/json(; charset=utf-8)?")})]

    def __init__(self, tokens, **options):
        super().__init__(tokens=tokens, **options)
        self.impersonators = {}  # email: {principal}

    def generate(self, request):
        account, caller = request.groups["account"], self.tokens.find(request.headers["authorization"].removeprefix("Bearer "))
        if not caller or caller.over:
            raise api_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if caller.details["scope"] not in (IAM, PLATFORM):
            raise api_error(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
        if account not in self.impersonators:
            raise api_error(404, "NOT_FOUND", "Not found; Gaia id not found for email " + account)
        if caller.principal not in self.impersonators[account]:
            raise api_error(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).")
        seconds = int(request.json.get("lifetime", "3600s")[:-1])
        if not 1 <= seconds <= 3600:
            raise api_error(400, "INVALID_ARGUMENT", "Lifetime is not in range.")
        token = self.tokens.issue(account, scope=" ".join(request.json["scope"]))
        over = datetime.datetime.fromtimestamp(int(token.expires), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Answer(200, {"accessToken": token.value, "expireTime": over}, "application/json; charset=UTF-8")


BASE = "/computeMetadata/v1/instance/service-accounts/default/"


class Metadata(Service):
    """Of Compute Engine and GKE. Who does not say Metadata-Flavor, or was forwarded, is refused."""
    headers = {**CLIENT_HEADERS, "metadata-flavor": May(), "x-forwarded-for": May(), "content-type": May()}
    hosts = ("169.254.169.254", "metadata.google.internal")
    routes = [Route("GET", BASE + "token", "token", query={"scopes": May()}),
              Route("GET", BASE, "about", query={"recursive": "true"}),
              Route("GET", "/computeMetadata/v1/universe/universe-domain", "universe")]

    def __init__(self, tokens, **options):
        super().__init__(tokens=tokens, **options)
        self.account, self.flavor = None, {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}

    def check_caller(self, request):
        if request.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in request.headers:
            raise Refusal(403, "Missing Metadata-Flavor:Google header.", "text/html", self.flavor)
        if not self.account:
            raise Refusal(404, "The service account was not found.", "text/html", self.flavor)

    def token(self, request):
        self.check_caller(request)
        token = self.tokens.issue(self.account, scope=PLATFORM)
        return Answer(200, {"access_token": token.value, "expires_in": token.seconds_left, "token_type": "Bearer"}, headers=self.flavor)

    def about(self, request):
        self.check_caller(request)
        return Answer(200, {"aliases": ["default"], "email": self.account, "scopes": [PLATFORM]}, headers=self.flavor)

    def universe(self, request):
        self.check_caller(request)
        return Answer(200, "googleapis.com", "application/text", headers=self.flavor)


def principal(pool, namespace, account):
    """How the policies of buckets and service accounts name a service account of a cluster."""
    return f"principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/{pool}/subject/ns/{namespace}/sa/{account}"


class Google:
    def __init__(self, cluster, tls):
        self.cluster, self.tokens = cluster, Tokens("ya29.c.")
        self.oauth, self.sts, self.iam = OAuth(self.tokens, tls=tls), Sts(cluster, self.tokens, tls=tls), Iam(self.tokens, tls=tls)
        self.metadata = Metadata(self.tokens)
        self.services = (self.oauth, self.sts, self.iam, self.metadata)

    def key_file(self, email, **fields):
        """Indented, with line ends, as the console gives it out. Fields replace or, when None, remove."""
        key, key_id = rsa_key(), secrets.token_hex(20)
        self.oauth.keys[email] = key_id, key
        pem = private_pem(key)
        canaries.add("private-key", pem.splitlines()[2])
        document = {"type": "service_account", "project_id": "p", "private_key_id": key_id, "private_key": pem, "client_email": email, "client_id": "1",
                    "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": self.oauth.url("/token"), **fields}
        return json.dumps({name: value for name, value in document.items() if value is not None}, indent=2) + "\n"

    def count(self):
        return sum(service.count() for service in self.services)

    def stop(self):
        for service in self.services:
            service.stop()
