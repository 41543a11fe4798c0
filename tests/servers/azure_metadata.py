"""A strict stand-in for the part of Azure's instance metadata service that gives tokens of managed identities.

    metadata = Metadata(entra.tokens)
    metadata.identities = {None: "<client id of the system's>", "<client id>": "<client id>"}

Numbers are texts in its answers, as in those of the real one. azure-identity passes against it (tests/sources/test_azure_client.py).
"""

import json
import re

from azure_entra import CLIENT_HEADERS, GUID, RESOURCE
from credential_service import Answer, May, Refusal, Route, Service, one_of


class Metadata(Service):
    headers = {**CLIENT_HEADERS, "metadata": one_of("true", "True")}
    routes = [Route("GET", "/metadata/identity/oauth2/token", "token", query={
        "api-version": "2018-02-01", "resource": one_of(RESOURCE, f"{RESOURCE}/"), "client_id": May(re.compile(GUID))})]

    def __init__(self, tokens, **options):
        super().__init__(tokens=tokens, **options)
        self.identities = {}

    def token(self, request):
        wanted = request.query.get("client_id")
        if wanted not in self.identities:
            raise Refusal(400, json.dumps({"error": "invalid_request", "error_description": "Identity not found"}), "application/json; charset=utf-8")
        client = self.identities[wanted]
        token = self.tokens.issue(client)
        over = int(token.expires)
        return Answer(200, {"access_token": token.value, "client_id": client, "expires_in": str(token.seconds_left), "expires_on": str(over),
                            "ext_expires_in": str(token.seconds_left), "not_before": str(over - 3600), "resource": request.query["resource"],
                            "token_type": "Bearer"})
