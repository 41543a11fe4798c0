"""Every kind of volume, on pods that read what they were promised."""

import json

import s3
from harness import DRIVER, KUBELET, PLUGIN, mounts, need, noise, sha256, test, wait_until

INPUTS = "csi.sharedcache.io/inputs"
SUM = "cd /inputs && find . -type f | sort | while read -r f; do sha256sum \"$f\"; done"


def sums(files):
    return "".join(f"{sha256(data)}  ./{name}\n" for name, data in sorted(files.items()))


@test("inline")
def inline(world, case):
    files = {"a.bin": noise("inline", 300000), "sub/b.txt": b"b" * 1000}
    lines = [f"{world.file('inline/' + name, data)} -> {name}" for name, data in files.items()]
    output = case.run("reader", SUM, case.inline("\n".join(lines)))
    need(output == sums(files), output)
    output = case.run("writer", "{ echo x >/inputs/a.bin || touch /inputs/new; } 2>/tmp/said || echo refused", case.inline("\n".join(lines)))
    need(output == "refused\n", output)
    for name in ("reader", "writer"):
        case.delete_pod(name)
    for name, data in files.items():
        world.downloaded_once(f"inline/{name}", len(data))


@test("job-of-many-pods-downloads-once")
def job(world, case):
    files = {f"part-{number:02}": noise(f"job{number}", 500000) for number in range(12)}
    files["large"] = noise("job", 20 << 20)
    inputs = "\n".join(world.file(f"job/{name}", data) for name, data in files.items())
    template = case.pod_spec(f"{SUM} | sha256sum", case.inline(inputs))
    case.create("Job", "many", api_version="batch/v1", spec={
        "completions": 10, "parallelism": 10, "completionMode": "Indexed", "backoffLimit": 0, "template": {"spec": template}})

    def ended():
        status = case.api.get("Job", "many", case.namespace)["status"]
        return status if status.get("succeeded") == 10 or status.get("failed") else None
    status = wait_until(ended, 180, lambda: f"the Job ends; {case.messages()[-5:]}")
    need(not status.get("failed"), f"pods failed: {case.messages()[-5:]}")
    wanted = sha256(sums(files).encode()) + "  -\n"
    outputs = [case.logs(pod["metadata"]["name"]) for pod in case.api.list("Pod", case.namespace)]
    need(len(outputs) == 10 and all(each == wanted for each in outputs), f"{len(outputs)} outputs: {set(outputs)}")
    for name, data in files.items():
        world.downloaded_once(f"job/{name}", len(data))


@test("copy-reads-from-the-nodes-disk")
def copy(world, case):
    data = noise("copy", 3 << 20)
    url = world.file("copy/data", data)
    stored = PLUGIN / "state" / "store" / "objects"

    def own_objects():
        return sum(1 for each in stored.rglob("*") if each.is_file() and each.stat().st_size == len(data))
    need(case.run("direct", SUM, case.inline(url)) == sums({"data": data}), "direct")
    need(own_objects() == 0, "direct left a copy on the node's disk")
    need(case.run("copy", SUM, case.inline(url, "copy")) == sums({"data": data}), "copy")
    need(own_objects() == 1, f"{own_objects()} copies on the node's disk")
    world.downloaded_once("copy/data", len(data))


@test("no-share-at-all")
def own_disk(world, case):
    data = noise("own", 100000)
    need(case.run("pod", SUM, case.inline(world.file("own/data", data), "own-disk")) == sums({"data": data}), "contents")


def claim_spec(storage_class="direct", **more):
    return {"accessModes": ["ReadOnlyMany"], "storageClassName": storage_class, "resources": {"requests": {"storage": "1Gi"}}, **more}


def reads_claim(case, claim, files, pod="pod"):
    output = case.run(pod, SUM, {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    need(output == sums(files), output)


def volume_of(case, claim):
    return case.api.get("PersistentVolumeClaim", claim, case.namespace)["spec"]["volumeName"]


@test("claim")
def claim(world, case):
    data = noise("claim", 200000)
    url = world.file("claim/data", data)
    case.create("PersistentVolumeClaim", "inputs", metadata={"annotations": {INPUTS: f"{url} -> in/data"}}, spec=claim_spec())
    reads_claim(case, "inputs", {"in/data": data})
    reads_claim(case, "inputs", {"in/data": data}, "second")
    world.downloaded_once("claim/data", len(data))
    volume = volume_of(case, "inputs")
    for name in ("pod", "second"):
        case.delete_pod(name)
    wait_until(lambda: not (KUBELET / "plugins/kubernetes.io/csi" / DRIVER).exists()
               or not mounts(KUBELET / "plugins/kubernetes.io/csi" / DRIVER), 60, "the volume is unstaged")
    case.api.delete("PersistentVolumeClaim", "inputs", case.namespace)
    wait_until(lambda: case.api.get("PersistentVolume", volume) is None, 60, "the volume goes with its claim")


@test("claim-without-inputs-says-so")
def claim_without(world, case):
    case.create("PersistentVolumeClaim", "inputs", spec=claim_spec())
    message = case.wait_message("inputs", "ProvisioningFailed")
    need(INPUTS in message, message)


@test("generic-ephemeral-volume")
def ephemeral(world, case):
    data = noise("ephemeral", 200000)
    url = world.file("ephemeral/data", data)
    template = {"metadata": {"annotations": {INPUTS: url}}, "spec": claim_spec()}
    output = case.run("pod", SUM, {"ephemeral": {"volumeClaimTemplate": template}})
    need(output == sums({"data": data}), output)
    volume = volume_of(case, "pod-inputs")
    case.delete_pod("pod")
    wait_until(lambda: case.api.get("PersistentVolume", volume) is None, 60, "the volume goes with its pod")


@test("static-persistent-volume")
def static(world, case):
    data = noise("static", 200000)
    url = world.file("static/data", data)
    name = f"static-{case.namespace}"
    case.create("PersistentVolume", name, spec={
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadOnlyMany"], "storageClassName": "direct", "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": case.namespace, "name": "inputs"},
        "csi": {"driver": DRIVER, "volumeHandle": name, "readOnly": True, "volumeAttributes": {"inputs": url, "storageClass": "direct"}}})
    case.create("PersistentVolumeClaim", "inputs", spec=claim_spec(volumeName=name))
    reads_claim(case, "inputs", {"data": data})
    case.delete_pod("pod")
    case.api.delete("PersistentVolumeClaim", "inputs", case.namespace)
    case.api.delete("PersistentVolume", name)


@test("private-bucket-with-a-secret")
def bucket(world, case):
    data = noise("bucket", 200000)
    world.s3.put("data", "private/key", data)
    keys = {"AWS_ACCESS_KEY_ID": s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET_KEY}
    case.create("Secret", "keys", stringData=keys)
    case.create("Secret", "wrong", stringData={**keys, "AWS_SECRET_ACCESS_KEY": "wrong"})
    output = case.run("pod", SUM, case.inline("s3://data/private/key", "buckets", "keys"))
    need(output == sums({"key": data}), output)
    # It is cached by now: the copy is no back door.
    case.pod("denied", "true", case.inline("s3://data/private/key", "buckets", "wrong"))
    message = case.wait_message("denied", "FailedMount.*input 1")
    need(s3.SECRET_KEY not in json.dumps(case.events()) and "403" in message, message)
    case.delete_pod("denied")
