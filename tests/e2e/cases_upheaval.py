"""The plugin, kubelet and the node go and come back, under pods that read all the while."""

import os
import pathlib
import signal
import subprocess
import time

import node as cluster_node
import world as cluster_world
from cases_volumes import SUM, sums
from harness import KUBELET, PLUGIN, Reader, helm, mounts, need, noise, plugin_processes, test, wait_until


def reads_fresh(world, case, name):
    """A pod whose data nobody has downloaded yet."""
    data = noise(name, 100000)
    url = world.file(f"fresh/{name}", data)
    need(case.run(name, SUM, case.inline(url)) == sums({name: data}), "contents")
    case.delete_pod(name)


def start_readers(world, case):
    data = noise("reader", 1 << 20)
    url = world.file("upheaval/reader", data)
    return [Reader(case, "direct", url, data), Reader(case, "copy", url, data, storage_class="copy")]


def restarted(world, before):
    pod = world.plugin_pod()
    return pod and pod["metadata"]["uid"] != before["metadata"]["uid"] and world.plugin_ready()


@test("startup-taint-goes")
def startup_taint(world, case):
    """The node came with it, and only the plugin takes it away: otherwise no pod of these tests would start."""
    need(cluster_world.STARTUP_TAINT in world.taints_before, f"the node came with {world.taints_before}")
    need(cluster_world.STARTUP_TAINT not in world.taints(), world.taints())
    need(world.registered(), "the driver is not in CSINode")


@test("helm-test", phase="alone")
def helm_test(world, case):
    output = helm(world, "test", cluster_world.RELEASE, "--namespace", cluster_world.NAMESPACE)
    need(output.count("Phase:") == 2 and output.count("Succeeded") == 2, output)
    need(world.nginx.exchanges("/helm-test"), "the test downloaded nothing")


@test("plugin-upgraded-under-running-pods", phase="alone")
def upgraded(world, case):
    readers = start_readers(world, case)
    before = world.plugin_pod()
    world.upgrade(level="debug")
    wait_until(lambda: restarted(world, before), 90, "the new plugin is ready")
    for reader in readers:
        reader.must_go_on()
    reads_fresh(world, case, "after-upgrade")
    for reader in readers:
        case.delete_pod(reader.name)


@test("plugin-killed-under-running-pods", phase="alone")
def killed(world, case):
    readers = start_readers(world, case)
    for number in (1, 2):
        [(pid, _)] = plugin_processes("node")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda gone=pid: [each for each in plugin_processes("node") if each[0] != gone] and world.plugin_ready(), 90,
                   "the plugin is back")
        for reader in readers:
            reader.must_go_on()
        reads_fresh(world, case, f"after-kill-{number}")
    for reader in readers:
        case.delete_pod(reader.name)


@test("kubelet-restarted", phase="alone")
def kubelet(world, case):
    readers = start_readers(world, case)
    plugin = plugin_processes("node")
    for number, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
        world.cluster.node.stop_kubelet(how)
        # Without kubelet the pod is only marked.
        world.api.delete("Pod", readers[number].name, case.namespace)
        world.cluster.node.start_kubelet()
        wait_until(lambda name=readers[number].name: world.api.get("Pod", name, case.namespace) is None, 90, "the pod goes once kubelet is back")
        reads_fresh(world, case, f"after-restart-{number}")
        for reader in readers[number + 1:]:
            reader.must_go_on()
    need(plugin_processes("node") == plugin, "the plugin was restarted, too")



@test("node-rebooted", phase="last")
def rebooted(world, case):
    """Everything stops at once; mounts, /run and the boot id are gone; the disk is as it was."""
    data = noise("reboot", 300000)
    url = world.file("reboot/data", data)
    for name, storage_class in (("direct", "direct"), ("copy", "copy")):
        case.start(name, f"{SUM}; sleep 3600", case.inline(url, storage_class), restartPolicy="Always")
    node = world.cluster.node
    boot = world.api.get("Node", cluster_node.NAME)["status"]["nodeInfo"]["bootID"]
    node.kubelet.stop(sig=signal.SIGKILL)
    cluster_node.kill_cgroups()
    node.containerd.stop(sig=signal.SIGKILL)
    cluster_node.kill_shims()
    run = pathlib.Path("/run")
    for target, _ in reversed([each for below in (KUBELET, run) for each in mounts(below) if each[0] != "/run"]):
        cluster_world.unmount(target)
    subprocess.run(["rm", "-rf", *run.iterdir()], check=True)
    own = cluster_world.WORK / "boot_id"
    own.write_text("5eed5eed-0000-4000-8000-0000000000b0\n")
    subprocess.run(["mount", "--bind", own, "/proc/sys/kernel/random/boot_id"], check=True)
    need(not mounts(PLUGIN) and not plugin_processes(), f"before it comes up: {mounts(PLUGIN)} {plugin_processes()}")
    cluster_node.make_cgroups()
    node.start_containerd()
    node.start_kubelet()
    wait_until(lambda: world.api.get("Node", cluster_node.NAME)["status"]["nodeInfo"]["bootID"] != boot, 60, "the node says that it rebooted")
    for name in ("direct", "copy"):
        def runs_again(name=name):
            found = world.api.get("Pod", name, case.namespace)
            statuses = found["status"].get("containerStatuses") or [{}]
            return statuses[0].get("restartCount", 0) >= 1 and statuses[0].get("ready")
        wait_until(runs_again, 120, lambda name=name: f"pod {name} runs again; {case.messages(name)[-4:]}")
        need(case.logs(name) == sums({"data": data}), case.logs(name))
    world.downloaded_once("reboot/data", len(data))
    reads_fresh(world, case, "after-reboot")
    for name in ("direct", "copy"):
        case.delete_pod(name)


@test("nothing-is-left", phase="last")
def nothing_left(world, case):
    """All pods are gone, then the release."""
    left = mounts(KUBELET / "pods", "overlay")
    need(not left, f"views without pods: {left}")
    records = list((PLUGIN / "state" / "volumes").iterdir())
    need(not records, f"records without volumes: {records}")
    helm(world, "uninstall", cluster_world.RELEASE, "--namespace", cluster_world.NAMESPACE, "--wait")
    wait_until(lambda: not world.api.list("Pod", cluster_world.NAMESPACE), 60, "the plugin's pods go")
    need(not plugin_processes(), f"processes: {plugin_processes()}")
    need(not world.sockets(), f"sockets: {world.sockets()}")
    need(not world.registered(), "kubelet still lists the driver")
    need(not mounts(KUBELET), f"mounts: {mounts(KUBELET)}")


