"""What the plugin asks of the Kubernetes API: classes, its CSIDriver object, the startup taint. Against servers/kube_api.py, a strict
stand-in that can be made slow, silent or unwilling; tests/cluster meets a real one."""

import concurrent.futures
import contextlib
import itertools
import time

import csi_pb2
from harness import LOOPBACK, WORK, Code, Node, capability, expect, need, test, wait_until
from kube_api import STORAGE, KubeApi

NUMBERS = itertools.count(1)
FRESH_S = 10  # how long an answer of the API counts
PAUSE_S = 5  # how long nobody asks after a request without an answer
NODE = "kube-node"
TAINT = {"key": "csi.sharedcache.io/agent-not-ready", "effect": "NoExecute"}
OTHER_TAINT = {"key": "example.com/gpu", "value": "true", "effect": "NoSchedule"}


@contextlib.contextmanager
def cluster(*args, driver=True, classes=None, start=True, **options):
    """(api, node): an API server and a plugin that asks it."""
    api = KubeApi(WORK / f"kube-api-{next(NUMBERS)}")
    if driver:
        api.put_driver()
    for name, parameters in ({"api": LOOPBACK} if classes is None else classes).items():
        api.put_class(name, parameters)
    node = Node(NODE, args=args, kube=api, **options)
    try:
        if start:
            node.start()
        yield api, node
        need(not api.complaints, lambda: f"the API server complains: {api.complaints[:3]}")
        need(not api.handshakes_failed, lambda: f"{api.handshakes_failed} TLS handshakes failed")
    finally:
        node.__exit__()
        api.stop()


def publish(node, url, name="kube", **attributes):
    pod = node.pod(name)
    started = time.monotonic()
    pod.publish(url, **{"storageClass": "api", **attributes})
    return pod, time.monotonic() - started


def class_requests(api, name="api"):
    return len(api.asked(f"GET {STORAGE}/storageclasses/{name}"))


@test("kube class-from-the-api")
def class_from_api(world):
    url = world.file("kube/a.txt", b"from a class of the API")
    with cluster("--default-class", "api") as (api, node):
        api.put_class("theirs", {"server": "x"}, provisioner="nfs.csi.k8s.io")
        api.put_class("odd", {"shareTyp": "nfs"})
        pod, _ = publish(node, url)
        need(pod.read("a.txt") == b"from a class of the API", "content")
        node.pod("default").publish(url)
        need(class_requests(api) == 1, f"{class_requests(api)} requests for one class")
        node.pod("none").final(Code.NOT_FOUND, lambda: node.pod("none").publish(url, storageClass="none"), "'none' does not exist")
        node.pod("theirs").final(Code.INVALID_ARGUMENT, lambda: node.pod("theirs").publish(url, storageClass="theirs"),
                                 "'theirs'.*provisioner is not csi.sharedcache.io")
        node.pod("odd").final(Code.INVALID_ARGUMENT, lambda: node.pod("odd").publish(url, storageClass="odd"), "shareTyp.*shareType")
        node.pod("path").final(Code.INVALID_ARGUMENT, lambda: node.pod("path").publish(url, storageClass="../nodes/a"), "not the name")


@test("kube built-in-class-without-a-default")
def built_in(world):
    url = world.file("kube/builtin.txt", b"x")
    with cluster() as (api, node):
        pod = node.pod("builtin")
        pod.final(Code.PERMISSION_DENIED, lambda: pod.publish(url), "address not allowed")
        need(not class_requests(api, ""), "a class was asked for")


@test("kube changed-class-counts-after-ten-seconds", slow=True)
def changed_class(world):
    url = world.file("kube/changed.txt", b"x")
    with cluster() as (api, node):
        publish(node, url)
        started = time.monotonic()
        api.put_class("api", {**LOOPBACK, "allowedNamespaces": "ml-*"})
        publish(node, url)
        need(class_requests(api) == 1, "asked again at once")
        time.sleep(max(0, started + FRESH_S + 0.2 - time.monotonic()))
        pod = node.pod("changed")
        pod.final(Code.PERMISSION_DENIED, lambda: pod.publish(url, storageClass="api"), "does not allow namespace 'team-a'")
        need(class_requests(api) == 2, f"{class_requests(api)} requests")
        api.delete(f"{STORAGE}/storageclasses/api")
        time.sleep(FRESH_S + 0.2)
        pod = node.pod("gone")
        pod.final(Code.NOT_FOUND, lambda: pod.publish(url, storageClass="api"), "'api' does not exist")


@test("kube many-pods-make-one-request")
def one_request(world):
    url = world.file("kube/many.txt", b"x")
    with cluster() as (api, node):
        api.delay_s = 1
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda _: publish(node, url), range(20)))
        need(class_requests(api) == 1, f"{class_requests(api)} requests for 20 pods")


def quick_with_old_class(api, node, url, what):
    """Twenty pods, one after the other: at most one of them waits, and that a second."""
    times = sorted(publish(node, url, what)[1] for _ in range(20))
    need(times[-1] < 2.5 and times[-2] < 1, lambda: f"{what}: took {times}")


@test("kube dead-api-does-not-break-a-class-that-is-known", slow=True)
def dead_api(world):
    url = world.file("kube/dead.txt", b"x")
    with cluster() as (api, node):
        publish(node, url)
        api.stop()
        time.sleep(FRESH_S + 0.2)
        quick_with_old_class(api, node, url, "stopped")
        api.start()
        api.hang()
        time.sleep(PAUSE_S + 0.2)
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            times = list(pool.map(lambda _: publish(node, url, "together")[1], range(20)))
        need(max(times) < 4, f"twenty at a time took {sorted(times)}")
        quick_with_old_class(api, node, url, "hanging")
        warnings = [line for line in node.log().splitlines() if "class_from_memory" in line]
        need(len(warnings) == 1, lambda: f"{len(warnings)} warnings in a minute: {warnings[:3]}")
        need("class=api" in warnings[0] and "age_s=1" in warnings[0] and "127.0.0.1" in warnings[0], warnings[0])
        api.resume()
        api.put_class("api", {**LOOPBACK, "allowedNamespaces": "ml-*"})
        time.sleep(PAUSE_S + 0.2)
        pod = node.pod("back")
        pod.final(Code.PERMISSION_DENIED, lambda: pod.publish(url, storageClass="api"), "does not allow namespace")


@test("kube unwilling-api-does-not-break-a-class-that-is-known", slow=True)
def unwilling_api(world):
    url = world.file("kube/unwilling.txt", b"x")
    with cluster() as (api, node):
        publish(node, url)
        time.sleep(FRESH_S + 0.2)
        for status in (503, 500, 429, 403, 401):
            api.status, before = status, class_requests(api)
            quick_with_old_class(api, node, url, f"status-{status}")
            asked = class_requests(api) - before
            need(asked == (2 if status == 401 else 1), f"{status}: asked {asked} times")
            time.sleep(PAUSE_S + 0.2)


@test("kube dead-api-and-an-unknown-class")
def dead_unknown(world):
    url = world.file("kube/unknown.txt", b"x")
    with cluster() as (api, node):
        api.stop()
        pod = node.pod("stopped")
        expect(Code.UNAVAILABLE, lambda: pod.publish(url, storageClass="api"), "StorageClass 'api' cannot be read", "cannot connect")
        pod.nothing_left()
        api.start()
        pod.publish_as_kubelet(url, seconds=PAUSE_S + 5, storageClass="api")


@test("kube silent-api-and-an-unknown-class")
def silent_unknown(world):
    url = world.file("kube/silent.txt", b"x")
    with cluster() as (api, node):
        api.hang()
        started = time.monotonic()
        expect(Code.UNAVAILABLE, lambda: node.pod("first").publish(url, storageClass="api"), "cannot be read", "no whole answer within")
        took = time.monotonic() - started
        need(4 < took < 30, f"the first took {took:.1f} s")
        started = time.monotonic()
        for _ in range(10):
            expect(Code.UNAVAILABLE, lambda: node.pod("next").publish(url, storageClass="api"), "cannot be read")
        need(time.monotonic() - started < took, "the next ones waited, too")
        api.resume()
        node.pod("later").publish_as_kubelet(url, seconds=PAUSE_S + 5, storageClass="api")


@test("kube refusals-of-the-api-say-what-to-do")
def refusals(world):
    url = world.file("kube/refused.txt", b"x")
    with cluster() as (api, node):
        api.forbidden.append("GET .*/storageclasses/")
        pod = node.pod("forbidden")
        pod.final(Code.FAILED_PRECONDITION, lambda: pod.publish(url, storageClass="api"), r"ClusterRole lacks the rule",
                  r"resources: \[storageclasses\], verbs: \[get\]", "is forbidden", absent=("token-of",))
        api.forbidden.clear()
        api.accepted.write_text("another-token\n")
        expect(Code.UNAVAILABLE, lambda: pod.publish(url, storageClass="api"), "401", absent=("token-of",))
        api.token_file.write_text("another-token")  # as kubelet rotates it
        pod.publish_as_kubelet(url, seconds=PAUSE_S + 5, storageClass="api")


@test("kube policy-of-a-class-from-the-api")
def policy(world):
    url = world.file("kube/policy.txt", b"x")
    allowed = url.rsplit("/", 1)[0] + "/"
    share = WORK / "kube-share"
    share.mkdir(mode=0o755)
    classes = {
        "ours": {**LOOPBACK, "allowedNamespaces": "ml-*, team-a"}, "not-ours": {**LOOPBACK, "allowedNamespaces": "ml-*"},
        "here": {**LOOPBACK, "allowedSources": allowed}, "elsewhere": {**LOOPBACK, "allowedSources": "https://data.example.com/"},
        "direct": {**LOOPBACK, "shareType": "local", "share": str(share)},
        "choice": {**LOOPBACK, "shareType": "local", "share": str(share), "podMayChoose": "copyPolicy"},
    }
    with cluster(classes=classes) as (_, node):
        publish(node, url, storageClass="ours")
        publish(node, url, storageClass="here")
        publish(node, url, storageClass="choice", copyPolicy="copy")
        for name, attributes, code, words in (
                ("not-ours", {}, Code.PERMISSION_DENIED, "does not allow namespace 'team-a'"),
                ("elsewhere", {}, Code.PERMISSION_DENIED, "allowedSources"),
                ("direct", {"copyPolicy": "copy"}, Code.INVALID_ARGUMENT, "podMayChoose"),
                ("choice", {"share": "/"}, Code.INVALID_ARGUMENT, "unknown attribute 'share'"),
                ("choice", {"allowedNamespaces": "*"}, Code.INVALID_ARGUMENT, "unknown attribute 'allowedNamespaces'"),
                ("choice", {"podMayChoose": "copyPolicy"}, Code.INVALID_ARGUMENT, "unknown attribute 'podMayChoose'")):
            pod = node.pod(name)
            pod.final(code, lambda: pod.publish(url, storageClass=name, **attributes), words)


class Claim:
    """A persistent volume of one pod: staged, then published."""

    def __init__(self, node, context, flags=()):
        self.node, self.pod = node, node.pod("claim")
        self.staging = str(node.kubelet / "plugins/kubernetes.io/csi/csi.sharedcache.io" / self.pod.uid / "globalmount")
        self.volume, self.capability, self.context = f"sc-{self.pod.uid}", capability(), context
        self.capability.mount.mount_flags.extend(flags)

    def stage(self):
        return self.node.call("NodeStageVolume", csi_pb2.NodeStageVolumeRequest(
            volume_id=self.volume, staging_target_path=self.staging, volume_capability=self.capability, volume_context=self.context))

    def publish(self, namespace="team-a"):
        info = {"pod.name": self.pod.name, "pod.namespace": namespace, "pod.uid": self.pod.uid, "serviceAccount.name": "default",
                "ephemeral": "false"}
        return self.node.call("NodePublishVolume", csi_pb2.NodePublishVolumeRequest(
            volume_id=self.volume, target_path=str(self.pod.target), staging_target_path=self.staging,
            volume_capability=self.capability,
            volume_context={**self.context, **{f"csi.storage.k8s.io/{key}": value for key, value in info.items()}}))


@test("kube claims-follow-the-class-that-they-name", slow=True)
def claims(world):
    url = world.file("kube/claim.txt", b"of a claim")
    context = {"storageClass": "api", "inputs": url, "storage.kubernetes.io/csiProvisionerIdentity": "1-2-csi.sharedcache.io"}
    with cluster(classes={"api": {**LOOPBACK, "allowedNamespaces": "team-*"}}) as (api, node):
        claim = Claim(node, context)
        claim.stage()
        claim.publish()
        need(claim.pod.read("claim.txt") == b"of a claim", "content")
        expect(Code.PERMISSION_DENIED, lambda: Claim(node, context).publish("other"), "does not allow namespace 'other'")
        api.put_class("api", {**LOOPBACK, "allowedNamespaces": "ml-*"})
        time.sleep(FRESH_S + 0.2)
        expect(Code.PERMISSION_DENIED, lambda: Claim(node, context).publish(), "does not allow namespace 'team-a'")
        # A static PV is an admin's: it may name a class and add parameters, or have parameters alone.
        static = Claim(node, {"storageClass": "api", "inputs": url, "allowedNamespaces": "team-a"})
        static.stage()
        static.publish()
        Claim(node, {"inputs": url, **LOOPBACK}).publish()


@test("kube csidriver-without-pod-info-refuses-volumes")
def no_pod_info(world):
    url = world.file("kube/driver.txt", b"x")
    with cluster(driver=False, start=False) as (api, node):
        api.put_driver(podInfoOnMount=False)
        node.start()
        pod = node.pod("forged")
        pod.final(Code.FAILED_PRECONDITION, lambda: pod.publish(url, storageClass="api"), "podInfoOnMount: true", "forge its namespace")
        api.delete(f"{STORAGE}/csidrivers/csi.sharedcache.io")
        wait_until(lambda: "state=absent" in node.log(), 8, "the plugin looks again")
        pod.final(Code.FAILED_PRECONDITION, lambda: pod.publish(url, storageClass="api"), "no CSIDriver object 'csi.sharedcache.io'")
        api.put_driver()
        wait_until(lambda: "state=allowed" in node.log(), 8, "the plugin looks again")
        pod.publish(url, storageClass="api")


@test("kube csidriver-fields-are-told")
def driver_fields(_):
    with cluster(driver=False, start=False) as (api, node):
        api.put_driver(attachRequired=True, fsGroupPolicy="File", volumeLifecycleModes=["Persistent"], requiresRepublish=True)
        node.start()
        told = {word for line in node.log().splitlines() if "csidriver_field" in line for word in line.split() if word.startswith("field=")}
        need(told == {"field=attachRequired", "field=fsGroupPolicy", "field=volumeLifecycleModes", "field=requiresRepublish"}, told)
        need("state=allowed" in node.log(), "podInfoOnMount is there")


@test("kube dead-api-at-start-leaves-the-checks-of-each-request")
def dead_at_start(world):
    url = world.file("kube/start.txt", b"x")
    with cluster(driver=False, start=False) as (api, node):
        api.put_driver(podInfoOnMount=False)
        api.hang()
        node.command += ["--class-dir", str(node.classes), "--default-class", "test"]
        started = time.monotonic()
        node.start()
        need(time.monotonic() - started < 10, "the start waits for the API")
        need("csidriver_not_read" in node.log(), "nothing is said")
        node.pod("unknown").publish(url)
        nameless = node.pod("nameless")
        nameless.final(Code.FAILED_PRECONDITION, lambda: node.call("NodePublishVolume", nameless.request(context={"inputs": url})),
                       "lacks .csi.storage.k8s.io/pod.namespace")
        api.resume()
        wait_until(lambda: "state=no_pod_info" in node.log(), 12, "the plugin looks again")
        pod = node.pod("known")
        pod.final(Code.FAILED_PRECONDITION, lambda: pod.publish(url), "podInfoOnMount: true")


@test("kube forbidden-csidriver-names-the-rule")
def driver_forbidden(world):
    url = world.file("kube/rule.txt", b"x")
    with cluster(start=False) as (api, node):
        api.forbidden.append("GET .*/csidrivers/")
        node.start()
        publish(node, url)
        need("resources: [csidrivers]" in node.log(), "the log does not name the rule")


def put_node(api, *taints):
    api.put(f"/api/v1/nodes/{NODE}", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"a": "b"}},
                                      "spec": {"podCIDR": "10.0.0.0/24", **({"taints": list(taints)} if taints else {})}})


def put_csinode(api, *drivers):
    api.put(f"{STORAGE}/csinodes/{NODE}", {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": NODE}, "spec": {
        "drivers": [{"name": name, "nodeID": NODE, "topologyKeys": None} for name in drivers]}})


def taints(api):
    return api.get(f"/api/v1/nodes/{NODE}")["spec"].get("taints")


@test("kube startup-taint-goes-once-csinode-lists-the-driver")
def startup_taint(_):
    with cluster(start=False) as (api, node):
        put_node(api, OTHER_TAINT, {**TAINT, "timeAdded": "2026-01-01T00:00:00Z"}, {**TAINT, "effect": "NoSchedule"})
        node.start()
        wait_until(lambda: len(api.asked("GET /apis/storage.k8s.io/v1/csinodes/")) >= 2, 10, "CSINode is looked at")
        put_csinode(api, "ebs.csi.aws.com", "csi.sharedcache.io2")
        seen = len(api.asked("csinodes"))
        wait_until(lambda: len(api.asked("csinodes")) >= seen + 2, 20, "CSINode is looked at")
        need(len(taints(api)) == 3 and not api.asked("PATCH"), f"taken away too early: {taints(api)}")
        put_csinode(api, "ebs.csi.aws.com", "csi.sharedcache.io")
        wait_until(lambda: taints(api) == [OTHER_TAINT], 12, lambda: f"the taint is gone: {taints(api)}")
        need(api.get(f"/api/v1/nodes/{NODE}")["metadata"]["labels"] == {"a": "b"}, "more than the taints changed")
        wait_until(lambda: "startup_taint_removed" in node.log(), 2, "the log says so")
        asked = len(api.requests)
        time.sleep(2)
        need(len(api.requests) == asked, "it goes on asking")


@test("kube startup-taint-conflicts-are-tried-again")
def taint_conflict(_):
    with cluster(start=False) as (api, node):
        put_node(api, TAINT)
        put_csinode(api, "csi.sharedcache.io")
        added = [{**OTHER_TAINT, "key": f"example.com/{number}"} for number in range(2)]

        def meanwhile(_):
            patches = len(api.asked("PATCH"))
            if patches <= len(added):  # somebody else is quicker, twice
                put_node(api, TAINT, *added[:patches])
        api.before_patch = meanwhile
        node.start()
        wait_until(lambda: taints(api) == added, 10, lambda: f"only ours goes: {taints(api)}")
        need(len(api.asked("PATCH")) == 3, f"{len(api.asked('PATCH'))} patches")


@test("kube startup-taint-alone-and-absent")
def taint_alone(_):
    with cluster("--startup-taint", "example.com/mine", start=False) as (api, node):
        put_node(api, {"key": "example.com/mine", "effect": "NoSchedule"})
        put_csinode(api, "csi.sharedcache.io")
        node.start()
        wait_until(lambda: not taints(api), 10, "the only taint goes")
        node.stop()
        api.requests.clear()
        node.start()
        wait_until(lambda: api.asked("GET /api/v1/nodes/"), 10, "the node is looked at")
        time.sleep(1)
        need(not api.asked("PATCH"), "a taint that is not there was taken away")


@test("kube startup-taint-needs-its-rule")
def taint_forbidden(_):
    with cluster(start=False) as (api, node):
        put_node(api, TAINT)
        put_csinode(api, "csi.sharedcache.io")
        api.forbidden.append("PATCH /api/v1/nodes/")
        node.start()
        wait_until(lambda: "startup_taint_not_removed" in node.log(), 10, "the log says so")
        need("resources: [nodes], verbs: [get, patch]" in node.log(), "the log does not name the rule")
        api.forbidden.clear()
        wait_until(lambda: not taints(api), 12, "it goes once the rule is there")


@test("kube startup-taint-can-be-left-alone")
def taint_disabled(_):
    with cluster("--startup-taint", "", start=False) as (api, node):
        put_node(api, TAINT)
        put_csinode(api, "csi.sharedcache.io")
        node.start()
        time.sleep(1)
        need(not api.asked("csinodes") and taints(api) == [TAINT], "it was touched")


@test("kube stopping-does-not-wait-for-a-silent-api")
def quick_stop(_):
    with cluster(start=False) as (api, node):
        put_node(api, TAINT)
        api.hang()
        node.start()
        started = time.monotonic()
        node.stop()
        need(time.monotonic() - started < 10, f"the stop took {time.monotonic() - started:.1f} s")
        need(node.process.returncode == 0, f"status {node.process.returncode}")
