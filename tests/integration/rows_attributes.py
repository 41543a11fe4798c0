"""Rows 22 to 36: volume attributes, tokens, secrets."""

import errno
import json

import csi_pb2
import s3
import tokens
from harness import Code, capability, expect, need, test
from rows_requests import create

URL = "https://data.example.com/a"


def refused(world, code, *words, inputs=URL, secrets=None, absent=(), **attributes):
    pod = world.node.pod("attributes")
    return pod.final(code, lambda: pod.publish(inputs, secrets=secrets, timeout=20, **attributes), *words, absent=absent)


@test("row-22 no-input")
def no_input(world):
    for inputs in (None, "", "\n  \n# only a comment\n"):
        refused(world, Code.INVALID_ARGUMENT, "inputs", inputs=inputs)
    refused(world, Code.INVALID_ARGUMENT, "inputsFrom", inputs=None)


@test("row-23 unknown-attribute")
def unknown_attribute(world):
    for key in ("mountOptions", "server", "share", "subPath", "allowedAddresses", "shareType", "caBundle", "x"):
        refused(world, Code.INVALID_ARGUMENT, key, "inputs", "storageClass", **{key: "value"})


@test("row-24 attribute-in-another-case")
def other_case(world):
    for key in ("Inputs", "INPUTS"):
        refused(world, Code.INVALID_ARGUMENT, key, "differ in case only", **{key: URL})
    for key in ("storageclass", "InputsFrom"):
        refused(world, Code.INVALID_ARGUMENT, f"unknown attribute '{key}'", **{key: URL})


@test("row-25 lines-that-contradict-each-other")
def contradictions(world):
    base = "https://data.example.com/"
    for inputs, words in {
        f"{base}a -> x\n{base}b -> x": ("1", "2"),
        f"{base}a\n\n{base}dir/a": ("1", "3"),
        f"{base}a -> x\n{base}b -> x/y": ("1", "2"),
        f"{base}a -> x/y\n{base}b -> x": ("1", "2"),
        f"{base}a -> X\n{base}b -> x": ("1", "2"),
        f"{base}a -> straße\n{base}b -> STRASSE": None,
        f"{base}a ->": ("line 1",),
        f"{base}a\n{base}b ->   \n": ("line 2",),
        f"{base}a colour=blue": ("line 1", "colour"),
        f"{base}a -> x y": ("line 1",),
        f"-> x {base}a": ("line 1",),
    }.items():
        if words is not None:
            refused(world, Code.INVALID_ARGUMENT, *words, inputs=inputs)


@test("row-26 too-long")
def too_long(world):
    lines = "\n".join(f"https://data.example.com/file-{number:05d}" for number in range(200))
    refused(world, Code.INVALID_ARGUMENT, "4096", inputs=lines)


@test("row-27 pod-info-missing")
def pod_info_missing(world):
    pod = world.node.pod("no-info")
    whole = pod.context({"inputs": URL})
    for key in ("csi.storage.k8s.io/pod.namespace", "csi.storage.k8s.io/ephemeral", "csi.storage.k8s.io/pod.uid"):
        context = {name: value for name, value in whole.items() if name != key}
        pod.final(Code.FAILED_PRECONDITION, lambda c=context: pod.publish(context=c), "podInfoOnMount")
    pod.final(Code.FAILED_PRECONDITION, lambda: pod.publish(context={"inputs": URL}), "podInfoOnMount")


@test("row-28 reserved-key-as-parameter")
def reserved_key(world):
    for key in ("csi.storage.k8s.io/pod.namespace", "csi.storage.k8s.io/ephemeral", "csi.storage.k8s.io/serviceAccount.tokens"):
        expect(Code.INVALID_ARGUMENT, lambda k=key: create(world, name="pvc-reserved", parameters={"inputs": URL, k: "admin"}), "csi.storage.k8s.io")


@test("row-29 ephemeral-flag-against-the-id")
def ephemeral_flag(world):
    pod = world.node.pod("flag")
    context = pod.context({"inputs": URL})
    request = pod.request(context=context)
    request.volume_id = "pvc-0b1e6a4e-0000-4000-8000-000000000000"
    pod.final(Code.INVALID_ARGUMENT, lambda: world.node.call("NodePublishVolume", request), "an inline volume's is csi-")
    context["csi.storage.k8s.io/ephemeral"] = "false"
    pod.final(Code.INVALID_ARGUMENT, lambda: pod.publish(context=context), "for inline volumes")
    context["csi.storage.k8s.io/ephemeral"] = "maybe"
    pod.final(Code.INVALID_ARGUMENT, lambda: pod.publish(context=context), "must be true or false")


@test("row-30 malformed-sha256")
def malformed_digest(world):
    for option in ("sha256=", "sha256=abcd", "sha256=" + "g" * 64, "sha256=" + "a" * 65,
                   "md5=" + "a" * 32, f"sha256={'a' * 64} sha256={'b' * 64}", f"sha256={'a' * 64} sha512={'b' * 128}"):
        refused(world, Code.INVALID_ARGUMENT, "line 1", "sha256|option", inputs=f"{URL} {option}")


@test("row-31 bad-places")
def bad_places(world):
    for place in ("../x", "a/../b", "a//b", "./a", "a/./b", "/abs", "x" * 256, "a\tb", "a\x01b", ".nfs1", "dir/.nfs0000"):
        refused(world, Code.INVALID_ARGUMENT, "line 1|input 1", inputs=f"{URL} -> {place}")
    for name in ("..", "%2e%2e", "a%2Fb%2F..%2F", "%00", "a%0Ab", ".nfs12"):
        refused(world, Code.INVALID_ARGUMENT, "line 1|input 1", inputs=f"https://data.example.com/{name}")


@test("row-32 copy-policy-and-class-values")
def copy_policy(world):
    refused(world, Code.INVALID_ARGUMENT, "copyPolicy", storageClass="choice", copyPolicy="auto")
    refused(world, Code.INVALID_ARGUMENT, "copyPolicy", storageClass="choice", copyPolicy="Copy")
    refused(world, (Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED), "copyPolicy", storageClass="test", copyPolicy="copy")
    for value in ("-1", "99999999999999999999", "1e9", "10Gi ", "", "16Ei"):
        expect(Code.INVALID_ARGUMENT, lambda v=value: create(world, name="pvc-budget", parameters={"inputs": URL, "budget": v}), "budget")


@test("row-32 class-that-is-not-there-or-not-for-this-namespace")
def classes(world):
    refused(world, (Code.NOT_FOUND, Code.INVALID_ARGUMENT), "no-such-class", storageClass="no-such-class")
    refused(world, Code.INVALID_ARGUMENT, storageClass="../classes/test")
    refused(world, Code.PERMISSION_DENIED, "namespace", storageClass="ours-only")
    refused(world, Code.PERMISSION_DENIED, inputs=world.nginx.url("x"), storageClass="sources")


CLUSTER = tokens.Cluster()
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


@test("row-33 tokens-are-never-shown")
def token(world):
    """Malformed, of another account, for another audience, over: refused at once, in either form. A good one is for token services alone."""
    mint, claims = CLUSTER.mint("team-a", "default", "sts.example.com"), CLUSTER.mint("team-a", "other", "sts.example.com")
    over = CLUSTER.pod_tokens("team-a", "default", ["sts.example.com"], seconds=-60)
    cases = (("{not json token-of-the-pod", "tokens"), ('["token-of-the-pod"]', "tokens"), ('{"a": "token-of-the-pod"}', "tokens"),
             ('{"sts.example.com": {"token": ""}}', "tokens"), ('{"sts.example.com": {"token": "token-of-the-pod"}}', "no JSON Web Token"),
             (json.dumps({"vault.example.com": {"token": mint}}), "'vault.example.com': it is for another audience"),
             (json.dumps({"sts.example.com": {"token": claims}}), "not the token of the pod's service account"),
             (over, r"expired at 20..-..-..T..:..:..Z; kubelet will bring a new one"),
             (CLUSTER.pod_tokens("team-a", "default", ["sts.example.com"]), "401"))
    for text, word in cases:
        for where in ({TOKENS: text}, {}):
            refused(world, Code.UNAUTHENTICATED, word, inputs=world.hostile.url("auth/10/token"), absent=("token-of-the-pod", "eyJ"),
                    secrets={} if where else {TOKENS: text}, **{"csi.storage.k8s.io/serviceAccount.name": "default", **where})


@test("row-34 secret-incomplete-or-with-line-breaks")
def bad_secret(world):
    s3_input = "s3://data/never"
    refused(world, Code.UNAUTHENTICATED, inputs=s3_input, storageClass="s3", secrets={"AWS_ACCESS_KEY_ID": s3.ACCESS_KEY})
    refused(world, Code.INVALID_ARGUMENT, "NUL", inputs=s3_input, storageClass="s3", secrets={"AWS_SECRET_ACCESS_KEY": "a\0b"})
    for value in (s3.SECRET_KEY + "\r\nX-Injected: yes", "a\nb", "a\rb"):
        refused(world, Code.INVALID_ARGUMENT, "AWS_SECRET_ACCESS_KEY", inputs=s3_input, storageClass="s3", absent=(value, s3.SECRET_KEY),
                secrets={"AWS_ACCESS_KEY_ID": s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": value})
    refused(world, Code.INVALID_ARGUMENT, inputs=world.nginx.url("auth/x"), secrets={"username": "reader", "password": "swordfish\r\nX: y"},
            absent=("swordfish",))


@test("row-35 writable-mount-is-read-only")
def writable(world):
    pod = world.node.pod("writable")
    pod.publish(world.file("ro.txt", b"fixed"), readonly=False)
    options = pod.mounts()[0][3].split(",")
    need("ro" in options and "nosuid" in options and "nodev" in options, options)
    for act in (lambda: (pod.target / "new").write_text("x"), lambda: (pod.target / "ro.txt").write_text("x"),
                (pod.target / "ro.txt").unlink, lambda: (pod.target / "ro.txt").chmod(0o777), lambda: (pod.target / "d").mkdir()):
        try:
            act()
            raise AssertionError("a write worked")
        except OSError as error:
            need(error.errno == errno.EROFS, error)
    pod.unpublish()
    pod.nothing_left()


@test("row-36 republish-with-another-token")
def rotated(world):
    pod = world.node.pod("rotated")
    url = world.file("rotated.txt", b"rotated")

    def publish(number):
        pod.publish(url, **{TOKENS: CLUSTER.pod_tokens("team-a", "default", ["sts.example.com"], seconds=3600 + number)})
        return pod.mounts()
    before = publish(1)
    need(len(before) == 1 and publish(2) == before and publish(3) == before, "another mount")
    pod.unpublish()
    expect(Code.NOT_FOUND, lambda: world.node.call("NodeGetVolumeStats", csi_pb2.NodeGetVolumeStatsRequest(
        volume_id=pod.volume, volume_path=str(pod.target))))
    need(capability() is not None)
