"""A strict stand-in for Microsoft Entra's token endpoint (OAuth 2.0 client credentials, with a secret or a federated credential), and
nothing else but what Microsoft's own client asks before it.

    entra = Entra(cluster, tls=world.tls)
    entra.apps["<client id>"] = App(secret="..", federated={("https://oidc.cluster.test/id/1", "system:serviceaccount:team-a:reader")})
    entra.authority                              # the class's azureAuthority
    guard.AzureBearer(entra.tokens, rights={"<client id>": {"account/container"}})

Errors are Entra's: AADSTS numbers, their OAuth words, the text that names issuer and subject. azure-identity passes against it
(tests/sources/test_azure_client.py). Tokens are JSON Web Tokens for https://storage.azure.com, as azurite takes them.
"""

import hmac
import json
import re
import secrets
import time
import uuid

from credential_service import Answer, May, Refusal, Route, Service
from tokens import BadToken, Token, Tokens, rsa_key, sign_jwt, split_jwt

AUDIENCE = "api://AzureADTokenExchange"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RESOURCE = "https://storage.azure.com"
GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TENANT = "11111111-2222-4333-8444-555555555555"
# What Microsoft's own clients send beside.
CLIENT_HEADERS = {name: May() for name in ("x-client-sku", "x-client-ver", "x-client-os", "x-client-cpu", "x-client-current-telemetry",
                                           "x-client-last-telemetry", "x-ms-lib-capability", "client-request-id", "x-ms-client-request-id",
                                           "return-client-request-id")}


class JwtTokens(Tokens):
    """Tokens that are JSON Web Tokens, with the claims that storage looks at."""

    def __init__(self, tenant):
        super().__init__()
        self.tenant, self.key = tenant, rsa_key()

    def issue(self, principal, seconds=None, **details):
        now = int(time.time())
        with self.lock:
            life = self.lives.pop(0) if self.lives else self.seconds if seconds is None else seconds
        claims = {"aud": details.get("audience", RESOURCE), "iss": f"https://sts.windows.net/{self.tenant}/", "iat": now - 5, "nbf": now - 5,
                  "exp": now + life, "appid": principal, "tid": self.tenant, "oid": str(uuid.uuid5(uuid.NAMESPACE_URL, principal)), "ver": "1.0",
                  "uti": secrets.token_urlsafe(16)}
        value = sign_jwt(self.key, claims)
        with self.lock:
            token = self.issued[value] = Token(value, principal, now + life, details)
        return token


class App:
    def __init__(self, secret=None, federated=(), audience=AUDIENCE):
        """federated: {(issuer, subject)}"""
        self.secret, self.federated, self.audience = secret, set(federated), audience


def refusal(status, word, number, text):
    stamp = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
    trace, correlation = uuid.uuid4(), uuid.uuid4()
    body = {"error": word, "error_description": f"AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}",
            "error_codes": [number], "timestamp": stamp, "trace_id": str(trace), "correlation_id": str(correlation),
            "error_uri": f"https://login.microsoftonline.com/error?code={number}"}
    return Refusal(status, json.dumps(body), "application/json; charset=utf-8")


FORM = {"client_id": re.compile(GUID), "scope": re.compile(r"\S+( \S+)*"), "grant_type": "client_credentials", "client_secret": May(),
        "client_assertion_type": May(ASSERTION_TYPE), "client_assertion": May(re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")), "client_info": May("1")}


class Entra(Service):
    headers = CLIENT_HEADERS
    routes = [
        Route("POST", re.compile(r"/(?P<tenant>[\w.-]+)/oauth2/v2\.0/token"), "token", form=FORM),
        Route("GET", re.compile(r"/(?P<tenant>[\w.-]+)/v2\.0/\.well-known/openid-configuration"), "configuration"),
    ]

    def __init__(self, cluster, tenant=TENANT, **options):
        super().__init__(tokens=JwtTokens(tenant), **options)
        self.cluster, self.tenant, self.apps = cluster, tenant, {}

    @property
    def authority(self):
        return self.url("").rstrip("/")

    def tenant_check(self, request):
        if request.groups["tenant"] != self.tenant:
            raise refusal(400, "invalid_request", 90002, f"Tenant '{request.groups['tenant']}' not found. Check to make sure you have the correct tenant ID.")

    def configuration(self, request):
        self.tenant_check(request)
        base = f"{self.authority}/{self.tenant}"
        return Answer(200, {"token_endpoint": f"{base}/oauth2/v2.0/token", "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode", "issuer": f"{base}/v2.0"})

    def federated_check(self, app, client, assertion):
        try:
            claims = split_jwt(assertion)[1]
            issuers, subjects = zip(*app.federated) if app.federated else ((), ())
            if claims.get("iss") not in issuers:
                raise refusal(401, "invalid_client", 700211, f"No matching federated identity record found for presented assertion issuer '{claims.get('iss')}'.")
            if (claims["iss"], claims.get("sub")) not in app.federated:
                raise refusal(401, "invalid_client", 700213, f"No matching federated identity record found for presented assertion subject '{claims.get('sub')}'.")
            self.cluster.verify(assertion, app.audience)
        except BadToken as error:
            if error.reason == "audience":
                raise refusal(401, "invalid_client", 700212, f"No matching federated identity record found for presented assertion audience '{claims.get('aud')}'.") from error
            if error.reason in ("expired", "early"):
                raise refusal(401, "invalid_client", 700024, "Client assertion is not within its valid time range.") from error
            raise refusal(401, "invalid_client", 50013, "Assertion failed signature validation.") from error

    def token(self, request):
        form = request.form
        self.tenant_check(request)
        if form["scope"] != f"{RESOURCE}/.default":
            raise refusal(400, "invalid_scope", 70011, f"The provided request must include a 'scope' input parameter. The scope {form['scope']} is not valid.")
        app = self.apps.get(form["client_id"])
        if not app:
            raise refusal(400, "unauthorized_client", 700016, f"Application with identifier '{form['client_id']}' was not found in the directory 'Test'.")
        if "client_secret" in form:
            if not app.secret or not hmac.compare_digest(app.secret, form["client_secret"]):
                raise refusal(401, "invalid_client", 7000215, "Invalid client secret provided.")
        elif "client_assertion" in form and "client_assertion_type" in form:
            if not app.federated:
                raise refusal(401, "invalid_client", 70025, "The client has no configured federated identity credentials.")
            self.federated_check(app, form["client_id"], form["client_assertion"])
        else:
            raise refusal(401, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
        token = self.tokens.issue(form["client_id"])
        return Answer(200, {"token_type": "Bearer", "expires_in": token.seconds_left, "ext_expires_in": token.seconds_left, "access_token": token.value})
