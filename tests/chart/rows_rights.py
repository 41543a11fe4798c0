"""The node plugin's rights are enough, and each of them is needed: without it the named operation fails, and the program says so."""

import contextlib
import functools
import json
import sys

from harness import BINARY, NAMESPACE, ROOT, WORK, find, need, run, test

sys.path.insert(0, str(ROOT / "tests/servers"))

import nginx  # noqa: E402 pylint: disable=wrong-import-position
import rights  # noqa: E402 pylint: disable=wrong-import-position
import rows_api  # noqa: E402 pylint: disable=wrong-import-position
from processes import wait_until  # noqa: E402 pylint: disable=wrong-import-position

TAINT = {"key": "csi.sharedcache.io/agent-not-ready", "effect": "NoExecute"}
OTHER = {"key": "example.com/gpu", "effect": "NoSchedule"}


@functools.cache
def world(plane):
    """Once: the rights, an origin, and a node whose CSINode lists the driver."""
    rows_api.prepare(plane)
    root = WORK / "origin"
    root.mkdir()
    (root / "file.bin").write_bytes(b"bytes of an input")
    origin = nginx.Nginx(WORK / "nginx", root)
    granted = rights.Rights(plane)
    granted.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other-node"}, "spec": {"taints": [TAINT]}},
                   {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": rights.NODE},
                    "spec": {"drivers": [{"name": rights.DRIVER, "nodeID": rights.NODE, "topologyKeys": None}]}}])
    return granted, origin.url("file.bin")


def taints(plane):
    node = json.loads(plane.kubectl("get", "node", rights.NODE, "-o", "json"))
    return [{key: taint[key] for key in ("key", "effect")} for taint in node["spec"].get("taints", [])]


def events(plane, reason):
    found = json.loads(plane.kubectl("get", "events", "--namespace", NAMESPACE, "-o", "json"))["items"]
    return [event for event in found if event["involvedObject"]["name"] == "rights-pod" and event["reason"] == reason]


@contextlib.contextmanager
def plugin(plane, name, missing=None):
    """A plugin that starts with all rights but one, on a node that has the taint."""
    granted, url = world(plane)
    role = granted.role("node")
    plane.kubectl("patch", "node", rights.NODE, "--type=merge", "--patch", json.dumps({"spec": {"taints": [OTHER, TAINT]}}))
    if missing:
        granted.give("node", rights.without(role, missing), missing, False)
    node = rights.Node(granted, name)
    try:
        yield node.start(), url
    finally:
        node.stop()
        if missing:
            granted.give("node", role, missing, True)


def says(node, *words, seconds=15):
    """One line of the log with all the words."""
    wait_until(lambda: any(all(word in line for word in words) for line in node.log().splitlines()), seconds,
               lambda: f"no line with {words} in:\n{node.log()}")


@test("node-rights-are-enough")
def enough(plane):
    plane.kubectl("delete", "events", "--all", "--namespace", NAMESPACE)
    with plugin(plane, "node-all") as (node, url):
        says(node, "csidriver", "allowed")
        done, content = node.publish(url)
        need(content == b"bytes of an input", f"{done.stdout}{done.stderr}")
        wait_until(lambda: taints(plane) == [OTHER], 15, lambda: f"the startup taint is gone, the other one stays: {taints(plane)}\n{node.log()}")
        wait_until(lambda: events(plane, "InputReady"), 15, lambda: f"an event on the pod:\n{node.log()}")
        fail_twice(plane, node, url)
        wait_until(lambda: events(plane, "InputDownloadFailed")[0].get("count", 1) > 1, 15, lambda: f"the event is renewed:\n{node.log()}")
        done, _ = node.publish(url.replace("file.bin", "auth/file.bin"), node.tokens())
        need("401" in done.stdout + done.stderr and "annotations" not in done.stdout + done.stderr, f"{done.stdout}{done.stderr}")
        need("orbidden" not in node.log() and "level=error" not in node.log(), node.log())


@test("helm-test-asks-a-plugin-that-answers")
def helm_test(plane):
    """The calls of the chart's test pod, over the socket where it expects it."""
    with plugin(plane, "node-helm-test") as (node, _):
        spec = find(node.rights.objects, "Pod", "sharedcache-csi-test-socket")["spec"]
        directory = spec["volumes"][0]["hostPath"]["path"]
        for container in [*spec["initContainers"], *spec["containers"]]:
            arguments = [argument.replace("unix:///csi/", f"unix://{directory}/") for argument in container["args"]]
            done = run(BINARY, *arguments)
            need(container["name"] != "info" or rights.NODE in done.stdout, done.stdout)
        node.stop()
        done = run(BINARY, *arguments, check=False)
        need(done.returncode != 0, "it passes without a plugin")
        node.start()


@test("node-rights-are-no-more-than-tried")
def listed(plane):
    granted, _ = world(plane)
    rights.need_pairs(granted.role("node"), OPERATIONS)


@test("node-may-not")
def may_not(plane):
    granted, _ = world(plane)
    for right in (("", "secrets", "get"), ("", "pods", "list"), ("", "pods", "create"), ("", "nodes", "delete"), ("", "nodes", "update"),
                  ("", "serviceaccounts/token", "create"), ("", "persistentvolumes", "get"), ("storage.k8s.io", "storageclasses", "list"),
                  ("storage.k8s.io", "csidrivers", "update"), ("", "events", "list"), ("", "configmaps", "get")):
        need(not granted.granted("node", right), f"the node plugin may {right[2]} {right[1]}")


@test("node-takes-taints-off-its-own-node-only")
def own_node(plane):
    """What RBAC cannot say."""
    granted, _ = world(plane)
    plane.kubectl("patch", "node", rights.NODE, "--type=merge", "--patch", json.dumps({"spec": {"taints": [OTHER, TAINT]}}))
    config = granted.kubeconfig("node")

    def patch(node, change):
        return run("kubectl", f"--kubeconfig={config}", "patch", "node", node, "--type=merge", "--patch", json.dumps(change), check=False)

    # A policy that is new counts a moment later.
    wait_until(lambda: "may change its own node only" in patch("other-node", {"spec": {"taints": None}}).stderr, 30, "another node is refused")
    for change in ({"metadata": {"labels": {"example.com/gpu": "yes"}}}, {"metadata": {"annotations": {"a": "b"}}}, {"spec": {"unschedulable": True}},
                   {"spec": {"taints": [OTHER, TAINT, {"key": "more", "effect": "NoSchedule"}]}}):
        done = patch(rights.NODE, change)
        need(done.returncode != 0 and "may only take taints away" in done.stderr, f"{change}: {done.stdout}{done.stderr}")
    done = patch(rights.NODE, {"spec": {"taints": [OTHER]}})
    need(done.returncode == 0 and taints(plane) == [OTHER], done.stderr)


def class_fails(plane, node, url):
    del plane
    done, content = node.publish(url)
    need(content is None and "lacks the rule" in done.stdout + done.stderr and "storageclasses" in done.stdout + done.stderr,
         f"{done.stdout}{done.stderr}")


def driver_is_not_read(plane, node, url):
    del plane, url
    says(node, "csidriver_not_read", "csidrivers", "lacks the rule")


def annotations_are_not_read(plane, node, url):
    """A refusal says why the pod may have been nobody."""
    del plane
    done, content = node.publish(url.replace("file.bin", "auth/file.bin"), node.tokens())
    need(content is None and "annotations of ServiceAccounts are not used" in done.stdout + done.stderr, f"{done.stdout}{done.stderr}")


def event_fails(plane, node, url):
    plane.kubectl("delete", "events", "--all", "--namespace", NAMESPACE)
    node.publish(url)
    says(node, "event_failed", "events")
    need(not events(plane, "InputReady"), "there is an event all the same")


def fail_twice(plane, node, url):
    """The same failure before and after a restart: the second plugin finds the event of the first one there, and renews it."""
    plane.kubectl("delete", "events", "--all", "--namespace", NAMESPACE)
    node.publish(url.replace("file.bin", "missing.bin"))
    wait_until(lambda: events(plane, "InputDownloadFailed"), 15, lambda: f"the event of a failure:\n{node.log()}")
    node.stop()
    node.start()
    node.publish(url.replace("file.bin", "missing.bin"))


def event_is_not_renewed(plane, node, url):
    fail_twice(plane, node, url)
    says(node, "event_failed", "patch", "events")
    need(events(plane, "InputDownloadFailed")[0].get("count", 1) == 1, "it is renewed all the same")


def taint_stays(plane, node, url):
    del url
    says(node, "startup_taint_not_removed")
    need(TAINT in taints(plane), "the taint is gone all the same")


OPERATIONS = {
    ("storage.k8s.io", "storageclasses", "get"): class_fails,
    ("storage.k8s.io", "csidrivers", "get"): driver_is_not_read,
    ("", "serviceaccounts", "get"): annotations_are_not_read,
    ("", "events", "create"): event_fails,
    ("", "events", "patch"): event_is_not_renewed,
    ("storage.k8s.io", "csinodes", "get"): taint_stays,
    ("", "nodes", "get"): taint_stays,
    ("", "nodes", "patch"): taint_stays,
}


def register(right, operation):
    @test(f"node-needs-{rights.text_of(right)}")
    def needs(plane):
        with plugin(plane, f"node-less-{rights.text_of(right)}", right) as (node, url):
            operation(plane, node, url)


for pair, fails in OPERATIONS.items():
    register(pair, fails)

