"""A strict stand-in for the EKS Pod Identity Agent: GET /v1/credentials with the pod's token, whose audience is pods.eks.amazonaws.com.

    agent = PodIdentity(cluster, server)
    agent.associations["team-a/reader"] = "alice"     # an account of the S3 server

Refusals are worded as the agent does: text, with the exception's name in parentheses. boto3's container credentials pass against it.
"""

from aws_sts import CLIENT_HEADERS, time_text
from credential_service import ANY, Answer, May, Refusal, Route, Service
from tokens import BadToken, Tokens

AUDIENCE = "pods.eks.amazonaws.com"


def refusal(status, code, message):
    return Refusal(status, f"[00000000-0000-0000-0000-000000000000]: ({code}): {message}, fault: client\n", "text/plain; charset=utf-8")


class PodIdentity(Service):
    headers = CLIENT_HEADERS
    hosts = ("169.254.170.23", "[fd00:ec2::23]")
    routes = [Route("GET", "/v1/credentials", "credentials", headers={"authorization": ANY, "accept": May("application/json")})]

    def __init__(self, cluster, server, **options):
        super().__init__(tokens=Tokens("IQoJb3JpZ2luX2Vj"), **options)
        self.cluster, self.s3, self.associations = cluster, server, {}

    def credentials(self, request):
        try:
            claims = self.cluster.verify(request.headers["authorization"], AUDIENCE)
        except BadToken as error:
            code = "ExpiredTokenException" if error.reason == "expired" else "InvalidTokenException"
            raise refusal(400, code, f"the token is no good: {error.reason}") from error
        account = self.associations.get("/".join(claims["sub"].split(":")[2:]))
        if not account:
            raise refusal(404, "ResourceNotFoundException", "Pod identity association not found")
        keys = self.s3.keys[account]
        token = self.tokens.issue(claims["sub"], access_key=keys.access)
        return Answer(200, {"AccessKeyId": keys.access, "SecretAccessKey": keys.secret, "Token": token.value, "AccountId": "123456789012",
                            "Expiration": time_text(token.expires)})
