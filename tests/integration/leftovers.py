"""After all volumes are gone: no mounts, no records, no descriptors, no threads."""

import os
import subprocess
import time

from harness import mounts, need, process_ended, test, wait_until


def shape(node):
    fetcher = node.children()["fetcher"]
    return {"descriptors": len(os.listdir(f"/proc/{node.process.pid}/fd")), "threads": len(os.listdir(f"/proc/{node.process.pid}/task")),
            "fetcher descriptors": len(os.listdir(f"/proc/{fetcher}/fd"))}


@test("leftovers repeated-volumes-leave-nothing", exclusive=True)
def nothing_grows(world):
    node, url = world.node, world.file("leftover.txt", b"leftover")

    def once():
        pod = node.pod("leftover")
        pod.publish(url)
        pod.unpublish()
        pod.nothing_left()
    for _ in range(5):
        once()
    time.sleep(0.5)
    before = shape(node)
    for _ in range(100):
        once()

    def settled():
        now = shape(node)
        return all(now[key] <= before[key] + 4 for key in before)
    wait_until(settled, 60, f"as before: {before}, now {shape(node)}")


@test("leftovers no-mounts-and-no-records", exclusive=True)
def nothing_left(world):
    node = world.node
    left = [entry for entry in mounts(node.kubelet)]
    need(not left, f"{len(left)} mounts: {left[:3]}")
    records = [each.name for each in (node.state / "volumes").iterdir()]
    need(not records, f"{len(records)} records: {records[:3]}")
    # Two warm mount helpers wait for the next volume; no more than these.
    helpers = [pid for name, pid in node.all_children() if name == "mount-helper"]
    need(len(helpers) <= 2, f"{len(helpers)} mount helpers")


@test("leftovers sigterm-ends-it-in-order", exclusive=True)
def sigterm(world):
    from harness import Node
    node = Node("term").start()
    pod = node.pod("term")
    pod.publish(world.file("leftover.txt", b"leftover"))
    fetcher = node.children()["fetcher"]
    node.stop()
    need(node.process.returncode == 0, f"status {node.process.returncode}: {node.log()[-500:]}")
    need(pod.read("leftover.txt") == b"leftover", "the volume went with the plugin")
    wait_until(lambda: process_ended(fetcher), 10, "the fetcher ends")
    node.start()
    pod.unpublish()
    pod.nothing_left()
    node.stop()


@test("leftovers a-process-that-ends-while-it-is-looked-at")
def looked_at(_):
    """A zombie, then gone, at any moment of a look at it: that is an answer, never an exception."""
    for _ in range(50):
        with subprocess.Popen(["sh", "-c", "true & echo $!; wait"], stdout=subprocess.PIPE) as shell:
            pid, answers = int(shell.stdout.readline()), []
            while os.path.exists(f"/proc/{pid}"):
                answers.append(process_ended(pid))
            need(process_ended(pid) and answers == sorted(answers), f"{pid}: {answers}")
