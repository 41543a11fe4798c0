"""What credential services issue and check: short-lived tokens of the stand-ins, and JSON Web Tokens signed with RSA.

    cluster = Cluster("https://oidc.cluster.test/id/1")
    jwt = cluster.mint("team-a", "reader", "sts.amazonaws.com")        # as kubelet gives it to a CSI driver
    cluster.verify(jwt, "sts.amazonaws.com")["sub"]                      # system:serviceaccount:team-a:reader, or BadToken
    cluster.pod_tokens("team-a", "reader", ["sts.amazonaws.com"])        # the text of csi.storage.k8s.io/serviceAccount.tokens

    tokens = Tokens("ya29.")
    tokens.next_lives(5)
    token = tokens.issue("alice@project.test", scope="read")              # token.value, token.principal, token.expires (time.time())
    tokens.find(value)                                                    # the token, also one that is over (token.over), or None

Every value issued is a canary (canaries.py): it must be seen nowhere but at the services themselves.
"""

import base64
import datetime
import json
import secrets
import threading
import time
import uuid

import canaries
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class BadToken(Exception):
    """reason: malformed, algorithm, key, signature, issuer, audience, expired or early."""

    def __init__(self, reason, text=""):
        super().__init__(f"{reason} {text}".strip())
        self.reason = reason


def encode_part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_part(text):
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def sign_jwt(key, claims, header=None):
    head = {"alg": "RS256", "typ": "JWT", **(header or {})}
    text = ".".join(encode_part(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    signature = encode_part(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))
    canaries.add("jwt", signature[:64])
    return f"{text}.{signature}"


def split_jwt(token):
    """(header, claims, signed text, signature), nothing checked."""
    try:
        head, claims, signature = token.split(".")
        return json.loads(decode_part(head)), json.loads(decode_part(claims)), f"{head}.{claims}", decode_part(signature)
    except ValueError as error:
        raise BadToken("malformed", str(error)) from error


def verify_jwt(token, public_key, issuer=None, audience=None, now=None):
    """The claims of a token that is signed, in its time, and, where they are given, of this issuer and for this audience."""
    header, claims, text, signature = split_jwt(token)
    if header.get("alg") != "RS256":
        raise BadToken("algorithm", str(header.get("alg")))
    try:
        public_key.verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise BadToken("signature") from error
    now = now or time.time()
    audiences = claims.get("aud")
    if issuer is not None and claims.get("iss") != issuer:
        raise BadToken("issuer", str(claims.get("iss")))
    if audience is not None and audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise BadToken("audience", str(audiences))
    if not isinstance(claims.get("exp"), (int, float)) or claims["exp"] <= now:
        raise BadToken("expired", str(claims.get("exp")))
    if max(claims.get("nbf", 0), claims.get("iat", 0)) > now + 5:
        raise BadToken("early")
    return claims


class Cluster:
    """A cluster that signs tokens of service accounts, as kube-apiserver does."""

    def __init__(self, issuer="https://oidc.cluster.test/id/1"):
        self.issuer, self.key, self.key_id = issuer, rsa_key(), secrets.token_hex(20)

    def mint(self, namespace, account, audience, seconds=3600, **claims):
        """seconds may be negative: a token that is over. Further claims replace or, when None, remove."""
        now = int(time.time())
        uid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{namespace}/{account}"))
        made = {"aud": audience if isinstance(audience, list) else [audience], "exp": now + seconds, "iat": now + min(0, seconds - 1),
                "nbf": now + min(0, seconds - 1), "iss": self.issuer, "jti": str(uuid.uuid4()), "sub": f"system:serviceaccount:{namespace}:{account}",
                "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": uid}}}
        made.update(claims)
        return sign_jwt(self.key, {name: value for name, value in made.items() if value is not None}, {"kid": self.key_id})

    def verify(self, token, audience):
        if split_jwt(token)[0].get("kid") != self.key_id:
            raise BadToken("key")
        return verify_jwt(token, self.key.public_key(), self.issuer, audience)

    def pod_tokens(self, namespace, account, audiences, seconds=3600):
        """The JSON that kubelet puts into the volume context (or the secrets) for the driver's tokenRequests."""
        over = datetime.datetime.fromtimestamp(int(time.time()) + seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps({audience: {"token": self.mint(namespace, account, audience, seconds), "expirationTimestamp": over} for audience in audiences})

    def key_set(self):
        """The JSON Web Key Set that the issuer publishes."""
        numbers = self.key.public_key().public_numbers()
        exponent, modulus = (encode_part(number.to_bytes((number.bit_length() + 7) // 8, "big")) for number in (numbers.e, numbers.n))
        return {"keys": [{"use": "sig", "kty": "RSA", "kid": self.key_id, "alg": "RS256", "n": modulus, "e": exponent}]}


class Token:
    def __init__(self, value, principal, expires, details):
        self.value, self.principal, self.expires, self.details = value, principal, expires, details

    @property
    def over(self):
        return time.time() >= self.expires

    @property
    def seconds_left(self):
        return max(0, int(self.expires - time.time()))


class Tokens:
    """Opaque tokens of one service: issued, found again, over at their time."""

    def __init__(self, prefix="", seconds=3600):
        self.prefix, self.seconds, self.lock = prefix, seconds, threading.Lock()
        self.issued, self.lives = {}, []

    def next_lives(self, *seconds):
        """How long the next tokens live, one number for each; those after them live as ever."""
        with self.lock:
            self.lives += seconds

    def issue(self, principal, seconds=None, value=None, **details):
        """value: a token made elsewhere, such as a JWT; what it says of its end is not read."""
        value = value or self.prefix + secrets.token_urlsafe(60)
        canaries.add("token", value)
        with self.lock:
            life = self.lives.pop(0) if self.lives else self.seconds if seconds is None else seconds
            token = self.issued[value] = Token(value, principal, time.time() + life, details)
        return token

    def find(self, value):
        with self.lock:
            return self.issued.get(value)

    def count(self, principal=None):
        with self.lock:
            return sum(principal in (None, token.principal) for token in self.issued.values())

    def revoke(self, principal=None):
        """What was issued (to one) counts no more."""
        with self.lock:
            for token in self.issued.values():
                if principal in (None, token.principal):
                    token.expires = 0
