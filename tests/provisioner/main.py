"""What becomes of claims: the real external-provisioner calls, and what it makes of the answers is looked at in the API."""

import re
import sys
import time
import traceback

from world import DRIVER, FROM, INPUTS, World, claim_spec

URL = "https://data.example.com/a.bin"
TESTS = []


def test(function):
    TESTS.append((function.__name__.replace("_", "-"), function))
    return function


def need(condition, text):
    if not condition:
        raise AssertionError(text)


@test
def a_claim_from_its_annotation_to_its_end(world):
    text = f"# weights\n{URL} -> models/\n"
    world.claim("plain", "plain", {INPUTS: text})
    need(world.context("plain") == {"storageClass": "plain", "inputs": text}, world.context("plain"))
    volume, = world.volumes("plain")
    need(volume["spec"]["capacity"]["storage"] == "1Gi" and volume["spec"]["csi"]["driver"] == DRIVER, volume["spec"])
    need("mountOptions" not in volume["spec"] and "nodeAffinity" not in volume["spec"], volume["spec"])
    world.delete("plain")
    world.wait(lambda: not world.volumes("plain"), "the volume goes with its claim")


@test
def a_claim_that_lacks_the_annotation_is_mended(world):
    world.claim("bare", "plain", {})
    world.says("bare", f"'{INPUTS}' is missing", "code = FailedPrecondition")
    need(not world.volumes("bare"), "a volume of nothing")
    world.annotate("bare", {INPUTS: f"{URL}\nftp://data.example.com/b"})
    world.says("bare", "inputs line 2")
    started = time.monotonic()
    world.annotate("bare", {INPUTS: URL})
    need(world.context("bare")["inputs"] == URL, "the first inputs")
    need(time.monotonic() - started < 10, "a change of the claim was not looked at soon")
    world.annotate("bare", {INPUTS: f"{URL}.other"})
    need(world.context("bare")["inputs"] == URL, "a bound claim changed")
    world.delete("bare")


@test
def a_list_in_an_object(world):
    world.claim("listed", "plain", {FROM: "s3://datasets/lists/run-42.txt"})
    need(world.context("listed") == {"storageClass": "plain", "inputsFrom": "s3://datasets/lists/run-42.txt"}, world.context("listed"))
    world.delete("listed")


@test
def a_class_that_is_wrong_or_not_for_this_namespace(world):
    world.storage_class("misspelt", copyPolice="copy")
    world.storage_class("theirs", allowedNamespaces="team-b")
    world.storage_class("unreachable", shareType="efs", share="nonsense")
    for name, code, word in (("misspelt", "InvalidArgument", "copyPolice"), ("theirs", "PermissionDenied", "allowedNamespaces"),
                             ("unreachable", "InvalidArgument", "share")):
        world.claim(name, name, {INPUTS: URL})
        world.says(name, f"code = {code}", f"StorageClass '{name}'", word)
        need(not world.volumes(name), f"a volume of class {name}")
        world.delete(name)


@test
def a_generic_ephemeral_volume(world):
    """Kubernetes makes the claim from the pod's template; there is no node, so that the pod itself waits."""
    def pod(name, annotations):
        template = {"metadata": {"annotations": annotations}, "spec": claim_spec("plain")}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team-a"},
                "spec": {"containers": [{"name": "main", "image": "busybox", "volumeMounts": [{"name": "in", "mountPath": "/in"}]}],
                         "volumes": [{"name": "in", "ephemeral": {"volumeClaimTemplate": template}}]}}
    world.apply(pod("train", {INPUTS: URL}), pod("bare", {}))
    world.wait(lambda: world.plane.kubectl("get", "pvc", "train-in", "-n", "team-a", check=False).returncode == 0, "the pod's claim")
    need(world.context("train-in") == {"storageClass": "plain", "inputs": URL}, world.context("train-in"))
    world.says("bare-in", "the pod's volumeClaimTemplate", "make the pod anew")
    world.plane.kubectl("delete", "pod", "train", "bare", "-n", "team-a", "--grace-period=0", "--force")
    world.wait(lambda: not world.volumes("train-in"), "the volume goes with its pod")


@test
def a_claim_deleted_while_the_api_does_not_answer_us(world):
    """UNAVAILABLE keeps the provisioner asking for a claim that is gone; NOT_FOUND ends that, and nothing is made."""
    world.wire.cut()
    world.claim("gone", "plain", {INPUTS: URL})
    uid = world.get("pvc", "gone", "-n", "team-a")["metadata"]["uid"]
    world.says("gone", "code = Unavailable", "Kubernetes API")
    world.delete("gone")
    refused = world.wire.refused
    world.wait(lambda: world.wire.refused > refused + 1, "it goes on asking for a claim that is gone")
    world.wire.mend()
    final = re.compile(rf'Final error received, removing PVC from claims in progress.*{uid}')
    world.wait(lambda: final.search(world.provisioner.log.read_text()), "the provisioner gives the claim up")
    need("code = NotFound" in world.provisioner.log.read_text(), "given up for another reason")
    need(not world.volumes("gone"), "a volume of no claim")


@test
def a_claim_of_the_same_name_made_anew(world):
    """What was asked for the first one never gets the second one's inputs."""
    world.wire.cut()
    world.claim("again", "plain", {INPUTS: f"{URL}.first"})
    world.says("again", "code = Unavailable")
    world.delete("again")
    world.claim("again", "plain", {INPUTS: f"{URL}.second"})
    world.wire.mend()
    need(world.context("again")["inputs"] == f"{URL}.second", "the first one's inputs")
    world.wait(lambda: "another claim of its name" in world.provisioner.log.read_text(), "the first one is refused")
    need(len(world.volumes("again")) == 1, "two volumes")
    world.delete("again")


@test
def the_controller_forgets_everything(world):
    """As when its pod is replaced: what it had made is deleted in order, and what comes is made."""
    world.claim("before", "plain", {INPUTS: URL})
    world.context("before")
    world.replace_pod()
    world.claim("after", "plain", {INPUTS: URL})
    need(world.context("after")["inputs"] == URL, "after the restart")
    for name in ("before", "after"):
        world.delete(name)
        world.wait(lambda each=name: not world.volumes(each), f"the volume of {name} goes")


@test
def fifty_claims_at_once(world):
    names = [f"many-{number}" for number in range(50)]
    started = time.monotonic()
    world.apply(*({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": claim_spec("plain"),
                   "metadata": {"name": name, "namespace": "team-a", "annotations": {INPUTS: f"{URL}.{name}"}}} for name in names))
    made = lambda: [item for item in world.get("pv")["items"] if item["spec"]["claimRef"]["name"] in names]
    world.wait(lambda: len(made()) == len(names), "fifty volumes", 60)
    need(all(item["spec"]["csi"]["volumeAttributes"]["inputs"] == f"{URL}.{item['spec']['claimRef']['name']}" for item in made()), "mixed up")
    seconds = time.monotonic() - started
    status = open(f"/proc/{world.controller.process.pid}/smaps_rollup").read()
    print(f"# 50 claims in {seconds:.1f} s; the controller's own memory: {re.search(r'Pss_Anon: +(.*)', status).group(1)}", flush=True)
    world.plane.kubectl("delete", "pvc", "-n", "team-a", "--all", "--timeout=60s")
    world.wait(lambda: not made(), "all of them go", 60)


@test
def nothing_is_left(world):
    world.wait(lambda: not world.get("pv")["items"], "no volume is left")
    need(not list((world.directory / "state").iterdir()), "records are left")
    world.provisioner.stop()
    world.controller.stop()
    need(world.controller.process.returncode == 0, f"status {world.controller.process.returncode}: {world.controller.tail()}")


def run(world, name, function):
    try:
        function(world)
    except Exception as error:
        where = next((f"line {frame.lineno}" for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith("main.py")
                      and frame.name != "run"), "?")
        print(f"not ok provisioner/{name}: {type(error).__name__} at {where}: {' '.join(str(error).split())[:900]}", flush=True)
        return False
    print(f"ok provisioner/{name}", flush=True)
    return True


def main():
    words = sys.argv[1:]
    with World() as world:
        world.storage_class("plain", shareType="nfs", share="filer.example.com:/cache")
        results = [run(world, name, function) for name, function in TESTS if not words or any(word in name for word in words)]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed", flush=True)
    sys.exit(0 if results and all(results) else 1)


main()
