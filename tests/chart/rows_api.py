"""Everything that is rendered, and every example, is what a real API server of the pinned version takes."""

import copy
import json

import yaml

from harness import CHART, CRDS, EXAMPLES, KUBERNETES, NAMESPACE, WORK, find, need, render, run, test, values_files
import schemas


def prepare(plane):
    """Once: the definitions of the operator's objects, the namespaces; then the schemas that the server gives."""
    location = WORK / "schemas"
    if not location.exists():
        for name in ("podmonitors", "prometheusrules"):
            plane.kubectl("apply", "--server-side", "-f", str(CRDS / f"{name}.yaml"))
        for name in (NAMESPACE, "ml-vision"):
            plane.kubectl("create", "namespace", name)
        for name in (NAMESPACE, "ml-vision", "default"):
            plane.kubectl("create", "serviceaccount", "default", "--namespace", name)
        return schemas.write(openapi(plane), location)
    return f"{location}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


def openapi(plane):
    """The server tells of new definitions a moment after they are established."""
    from processes import wait_until

    def asked():
        text = plane.kubectl("get", "--raw", "/openapi/v2")
        return json.loads(text) if "com.coreos.monitoring.v1.PrometheusRule" in text and "com.coreos.monitoring.v1.PodMonitor" in text else None

    return wait_until(asked, 60, "the API server describes PodMonitor and PrometheusRule")


def examples():
    return {path.stem: list(yaml.safe_load_all(path.read_text())) for path in sorted(EXAMPLES.glob("*.yaml"))
            if not path.name.startswith("values-")}


def conform(plane, objects):
    done = run("kubeconform", "-strict", "-summary", "-output", "text", "-kubernetes-version", KUBERNETES.lstrip("v"),
               "-schema-location", prepare(plane), "-", text=yaml.safe_dump_all(objects), check=False)
    return done.returncode, done.stdout + done.stderr


def apply(plane, objects):
    """With all of the server's own checks, and nothing is kept."""
    return plane.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
                         text=yaml.safe_dump_all(objects), check=False)


def register(name, load):
    @test(f"kubeconform-{name}")
    def conforms(plane):
        status, output = conform(plane, load())
        need(status == 0 and "Skipped: 0" in output, output)
        return output.strip().splitlines()[-1]

    @test(f"server-takes-{name}")
    def taken(plane):
        prepare(plane)
        objects = load()
        # A pod's account must be there, and a dry run makes none.
        accounts = [item for item in objects if item["kind"] == "ServiceAccount"]
        if accounts:
            plane.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(accounts))
        done = apply(plane, objects)
        need(done.returncode == 0, done.stderr.strip())
        return f"{len(done.stdout.splitlines())} objects"


for stem, file in values_files().items():
    register(stem, lambda file=file: render(file))
for stem in examples():
    register(f"example-{stem}", lambda stem=stem: examples()[stem])


@test("kubeconform-refuses-unknown-fields")
def unknown(plane):
    """Without this the tests above could not fail."""
    for kind, path in (("DaemonSet", ["spec", "template", "spec"]), ("CSIDriver", ["spec"]), ("PodMonitor", ["spec"]),
                       ("PrometheusRule", ["spec"])):
        item = part = copy.deepcopy(find(render(values_files()["everything"]), kind))
        for key in path:
            part = part[key]
        part["noSuchField"] = True
        status, output = conform(plane, [item])
        need(status != 0 and "noSuchField" in output, f"{kind}: {output}")
        done = apply(plane, [item])
        need(done.returncode != 0 and "noSuchField" in done.stderr, f"{kind}: {done.stderr}")


@test("server-wants-privilege-for-propagation")
def privilege(plane):
    """The comment in the DaemonSet's template is so."""
    prepare(plane)
    item = find(render(None), "DaemonSet")
    item["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = False
    done = apply(plane, [item])
    need(done.returncode != 0 and "Bidirectional mount propagation is available only to privileged containers" in done.stderr, done.stderr)


@test("immutable-as-the-readme-says")
def immutable(plane):
    """A class's parameters, the CSIDriver's attachRequired and modes; mountOptions and tokenRequests are not."""
    prepare(plane)
    objects = render(values_files()["values-nfs"])
    driver, shared = find(objects, "CSIDriver"), find(objects, "StorageClass", "shared-nfs")
    plane.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all([driver, shared]))
    try:
        for item, path, value, says in (
                (shared, ["parameters", "copyPolicy"], "copy", "updates to parameters are forbidden"),
                (shared, ["mountOptions"], ["vers=3"], None),
                (driver, ["spec", "attachRequired"], True, "field is immutable"),
                (driver, ["spec", "volumeLifecycleModes"], ["Persistent"], "field is immutable"),
                (driver, ["spec", "tokenRequests"], [{"audience": "sts.amazonaws.com"}], None)):
            changed = part = copy.deepcopy(item)
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value
            done = apply(plane, [changed])
            need(done.returncode == 0 if says is None else done.returncode != 0 and says in done.stderr,
                 f"{item['kind']} {'.'.join(path)}: {done.stdout}{done.stderr}")
    finally:
        plane.kubectl("delete", "csidriver,storageclass", "--all")


@test("two-releases-do-not-collide")
def two(plane):
    """A second driver beside the first one: other names for all that is cluster-wide."""
    first = render(values_files()["values-nfs"])
    path = WORK / "second.yaml"
    path.write_text(json.dumps({"csiDriver": {"name": "csi.second.example"}, "fullnameOverride": "second", "node": {"httpPort": 9899},
                                "storageClasses": [{"name": "second"}]}))
    second = yaml.safe_load_all(run("helm", "template", "second", CHART, "--namespace", "second", "--values", path).stdout)
    names = [{(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects if item}
             for objects in (first, second)]
    need(not names[0] & names[1], f"both make {sorted(names[0] & names[1])}")
