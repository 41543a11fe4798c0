"""The chart renders with every values file, and what it renders is what the program takes."""

import json
import re
import subprocess

import yaml

from harness import BINARY, CHART, EXAMPLES, ROOT, WORK, find, helm_arguments, need, render, run, test, values_files


def pods(objects):
    """(kind, pod's spec) of everything that runs."""
    for item in objects:
        if item["kind"] in ("DaemonSet", "Deployment"):
            yield item["kind"], item["spec"]["template"]["spec"]
        elif item["kind"] == "Pod":
            yield "Pod", item["spec"]


def register(name, path):
    @test(f"lint-{name}")
    def lint():
        run("helm", "lint", "--strict", "--quiet", CHART, *(["--values", path] if path else []))

    @test(f"render-{name}")
    def template():
        objects = render(path)
        names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects]
        need(len(names) == len(set(names)), f"an object stands twice: {sorted(names)}")
        for item in objects:
            need(item["metadata"]["labels"]["app.kubernetes.io/instance"], f"{item['kind']} without the release's label")
        notes = run("helm", "install", *helm_arguments(path)[:4], *(["--values", path] if path else []), "--dry-run=client").stdout
        need("NOTES:" in notes and "rollout status" in notes, "no notes")
        return f"{len(objects)} objects"

    @test(f"arguments-{name}")
    def arguments():
        for _, spec in pods(render(path)):
            for container in spec["containers"]:
                if container["name"] in ("node", "controller"):
                    takes(container["args"])


def takes(arguments):
    """The program takes all of them: it complains of the one alone that is added."""
    done = subprocess.run([BINARY, *arguments, "--no-such-flag"], capture_output=True, text=True, timeout=20, check=False)
    need(done.returncode == 78 and "unknown argument '--no-such-flag'" in done.stderr, f"{arguments[0]}: {done.stderr.strip()}")


for stem, file in values_files().items():
    register(stem, file)


@test("readme-is-up-to-date")
def readme():
    run(ROOT / "hack/chart-docs", "--check")


@test("schema-and-values-name-the-same")
def same_names():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def walk(part, value, path):
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
        if "properties" not in part:
            return
        need(part.get("additionalProperties") is False, f"{path or 'the top'} takes unknown values")
        wanted = set(part["properties"]) - {"global", "limits", "requests", "claims"}
        if path.endswith((".affinity", ".seLinuxOptions", ".resources")):
            return
        need(wanted == set(value), f"{path or 'the top'}: values.yaml and the schema differ in {sorted(wanted ^ set(value))}")
        for key in wanted:
            walk(part["properties"][key], value[key], f"{path}.{key}")

    walk(schema, values, "")


@test("schema-knows-every-class-parameter")
def parameters():
    """The program itself is asked which it knows."""
    socket = WORK / "parameters/csi.sock"
    with open(WORK / "parameters.log", "wb") as log:
        server = subprocess.Popen([BINARY, "controller", f"--endpoint=unix://{socket}", f"--state-dir={WORK}/parameters-state"], stderr=log)
    try:
        for _ in range(100):
            done = run(BINARY, "csi", f"--endpoint=unix://{socket}", "CreateVolume", "--name=x", "--attribute=inputs=https://a.example.com/b",
                       "--attribute=noSuch=1", check=False)
            if "known are" in done.stdout + done.stderr:
                break
    finally:
        server.terminate()
        server.wait(10)
    known = re.search(r"unknown class parameter 'noSuch': known are ([A-Za-z0-9, ]+)", done.stdout + done.stderr)
    need(known, f"no list of parameters: {done.stdout}{done.stderr}")
    schema = json.loads((CHART / "values.schema.json").read_text())["$defs"]["parameters"]["properties"]
    differ = set(known[1].split(", ")) ^ set(schema)
    need(not differ, f"the program and the schema differ in {sorted(differ)}")
    return f"{len(schema)} parameters"


@test("one-bidirectional-mount")
def propagation():
    """Nested ones would double the host's mounts at each restart; sockets and state lie below the one that there is."""
    for path in values_files().values():
        objects = render(path)
        spec = find([item for item in objects if item["kind"] == "DaemonSet"], "DaemonSet")["spec"]["template"]["spec"]
        both = [mount for container in spec["containers"] for mount in container["volumeMounts"]
                if mount.get("mountPropagation") == "Bidirectional"]
        need(len(both) == 1, f"{len(both)} Bidirectional mounts")
        flags = dict(argument.split("=", 1) for argument in spec["containers"][0]["args"] if "=" in argument)
        for flag in ("--state-dir", "--endpoint", "--registration-dir"):
            inside = flags.get(flag, both[0]["mountPath"] + "/").removeprefix("unix://")
            need(inside.startswith(both[0]["mountPath"] + "/"), f"{flag} {inside} is not below {both[0]['mountPath']}")


@test("only-the-node-plugin-is-privileged")
def privileges():
    for path in values_files().values():
        for kind, spec in pods(render(path)):
            for container in [*spec["containers"], *spec.get("initContainers", [])]:
                security = container["securityContext"]
                need(security["readOnlyRootFilesystem"] is True, f"{container['name']} may write to its image")
                if (kind, container["name"]) == ("DaemonSet", "node"):
                    continue
                need("privileged" not in security and security["allowPrivilegeEscalation"] is False
                     and security["capabilities"] == {"drop": ["ALL"]}, f"{kind} {container['name']}: {security}")
            if kind == "Deployment":
                need(spec["securityContext"]["runAsNonRoot"] is True and not spec.get("hostNetwork"), "the controller is not confined")


@test("digest-decides-which-image")
def digest():
    image = find([item for item in render(values_files()["everything"]) if item["kind"] == "DaemonSet"],
                 "DaemonSet")["spec"]["template"]["spec"]["containers"][0]["image"]
    need(image == "registry.example.com/storage/sharedcache:0.1.0-test@sha256:" + "0123456789abcdef" * 4, image)


@test("tokens-in-secrets-from-1.35")
def tokens():
    path = values_files()["everything"]
    need("serviceAccountTokenInSecrets" not in find(render(path), "CSIDriver")["spec"], "a field that Kubernetes 1.34 does not know")
    newer = run("helm", "template", *helm_arguments(path), "--kube-version", "v1.35.0").stdout
    driver = find([item for item in yaml.safe_load_all(newer) if item], "CSIDriver")["spec"]
    need(driver["serviceAccountTokenInSecrets"] is True and len(driver["tokenRequests"]) == 2, driver)


@test("examples-name-classes-that-exist")
def examples():
    """Whoever copies a pod finds its class in one of the values files beside it."""
    made = {item["metadata"]["name"] for path in values_files().values() for item in render(path) if item["kind"] == "StorageClass"}
    used = set()
    for path in EXAMPLES.glob("*.yaml"):
        if not path.name.startswith("values-"):
            used |= set(re.findall(r"(?:storageClass|storageClassName): *([a-z0-9.-]+)", path.read_text()))
    need(used and used <= made, f"no values file makes {sorted(used - made)}")
