"""Prefixes and globs on servers of two makes; 200,000 objects below one prefix: listed, planned and published, with the peak of resident
memory, and a glob that matches a third of them."""

import collections
import contextlib
import itertools
import os
import pathlib
import re
import subprocess
import threading
import time

import bulk_s3
import guard
import harness
from harness import LOOPBACK, Code, Node, need, test
from test_s3 import DENIED, on_both

COUNT = 200000
PEAK_MAX = 256 << 10  # KiB


class Peaks:
    """The most that each of a plugin's processes ever had resident since the block began, short-lived helpers among them; KiB."""

    def __init__(self, node):
        self.node, self.peaks, self.ending = node, collections.Counter(), threading.Event()

    def processes(self):
        yield "node", self.node.process.pid
        for name, pid in self.node.all_children():
            yield name, pid

    def look(self):
        with contextlib.suppress(OSError):
            for name, pid in self.processes():
                with contextlib.suppress(OSError, AttributeError):
                    peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))
                    self.peaks[name] = max(self.peaks[name], peak)

    def run(self):
        while not self.ending.wait(0.2):
            self.look()

    def __enter__(self):
        for _, pid in self.processes():
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        self.look()

    def __str__(self):
        return ", ".join(f"{name} {peak / 1024:.0f} MiB" for name, peak in sorted(self.peaks.items()))


def files_below(directory):
    return sum(len(files) for _, _, files in os.walk(directory))


def measured(bulk, node, title, inputs, want):
    """Publishes, prints what it took, and looks at the files. Returns how many objects were asked for."""
    bulk.reset()
    pod = node.pod("bulk")
    with Peaks(node) as peaks:
        started = time.monotonic()
        pod.publish_as_kubelet(f"{inputs} -> files/", storageClass="bulk", secrets=bulk.pod_secret, seconds=540, timeout=100)
        seconds = time.monotonic() - started
    stats = bulk.stats()
    harness.log(f"# {title}: {seconds:.1f} s, {stats['list']} pages, {stats['get']} objects, peak resident memory {peaks}")
    need(not stats["complaints"] and not stats["refused"], stats)
    need(files_below(pod.target / "files") == want, f"{files_below(pod.target / 'files')} files, not {want}")
    if "san" not in os.environ.get("SC_PRESET", ""):
        need(max(peaks.peaks.values()) < PEAK_MAX, f"{title}: {peaks}")
    return pod, stats


@test("s3 bulk 200000-objects", slow=True, patient=True)
def many(world):
    """On a file system in memory: a disk that writes 200,000 files down is not what is asked about. Other tests run meanwhile, and first."""
    bulk = world.kept(bulk_s3.BulkS3(harness.WORK / "bulk", COUNT))
    memory = harness.WORK / "bulk" / "memory"
    memory.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6g,nr_inodes=2m,mode=755", "tmpfs", str(memory)], check=True, timeout=60)
    node = Node("bulk", {"bulk": {**LOOPBACK, "s3Endpoint": bulk.endpoint, "s3Region": "us-east-1"}}, state_dir=memory / "state", wrap=("nice", "-n", "5"))
    with node:
        pod, stats = measured(bulk, node, "200,000 objects, cold", "s3://bulk/data/", COUNT)
        need(stats["get"] >= COUNT, f"each object once: {stats}")
        pod.unpublish()
    with node:  # another process, so that its peak is its own
        pod, stats = measured(bulk, node, "200,000 objects, warm store", "s3://bulk/data/", COUNT)
        need(stats["get"] <= 1 and stats["list"] >= COUNT // 1000, f"the list and a read of one object prove the right: {stats}")
        for number in itertools.chain(range(0, COUNT, 9973), (COUNT - 1,)):
            need(pod.read(f"files/{bulk.key(number)[len('data/'):]}") == bulk.content(number), f"contents of {number}")
        pod.unpublish()
    with node:
        want = len(range(1, COUNT, 3))
        pod, stats = measured(bulk, node, "a glob that matches a third of them, warm store", "s3://bulk/data/**/*-1.bin", want)
        need(stats["get"] <= 1, f"{stats}")
        need(all(name.endswith("-1.bin") for _, _, files in os.walk(pod.target) for name in files), "names")
        pod.unpublish()
    subprocess.run(["umount", "-l", str(memory)], check=False, timeout=60)


TREE = {"tree/a.txt": b"a", "tree/b/c.bin": b"c" * 3000, "tree/b/d e+%.bin": b"d", "tree/ü-日本.txt": b"u", "tree/b/deep/er/e.bin": b"", "treetop": b"t"}
# A glob, and what it matches of them, as paths below the part before the first sign.
GLOBS = {"tree/": [key[5:] for key in TREE if key.startswith("tree/")], "tree/**/*.bin": ["b/c.bin", "b/d e+%.bin", "b/deep/er/e.bin"],
         "tree/*.txt": ["a.txt", "ü-日本.txt"], "tree/b/[cd]*": ["c.bin", "d e+%.bin"], "tree/?.txt": ["a.txt"]}


def tree(at):
    """The tree in a bucket of its own for each caller."""
    bucket = f"{at.bucket}-{next(NUMBERS)}"
    at.server.make_bucket(bucket, readers=["alice"])
    for key, body in TREE.items():
        at.server.put(bucket, key, body)
    return bucket


NUMBERS = itertools.count(1)


def names_below(directory):
    return sorted(os.path.relpath(os.path.join(place, name), directory) for place, _, files in os.walk(directory) for name in files)


@on_both("prefixes-and-globs")
def globs(world, at):
    bucket = tree(at)
    for pattern, want in GLOBS.items():
        pod = world.node.pod("glob")
        at.publish(pod, f"s3://{bucket}/{pattern} -> d/")
        need(names_below(pod.target / "d") == sorted(want), f"{pattern}: {names_below(pod.target / 'd')}")
        need(all(pod.read(f"d/{name}") == TREE[f"tree/b/{name}" if "/b/[" in pattern else f"tree/{name}"] for name in want), f"{pattern}: contents")
        pod.unpublish()
    for nothing in ("none/", "tree/*.jpg"):
        at.refused_inputs(world, Code.NOT_FOUND, f"s3://{bucket}/{nothing} -> d/")


@on_both("prefix-of-somebody-else")
def somebody_else(world, at):
    """alice has brought it into the cache; bob may not list it, a wrong key may not either; nothing of it leaves the store for them."""
    bucket = tree(at)
    inputs = f"s3://{bucket}/tree/"
    pod = world.node.pod("prefix-alice")
    at.publish(pod, f"{inputs} -> d/", storageClass=at.answers_count)
    before = at.guard.body_bytes(f"/{bucket}/tree/b/c.bin")
    at.refused_inputs(world, DENIED, f"{inputs} -> d/", account="bob", storage_class=at.answers_count)
    at.refused_inputs(world, DENIED, f"{inputs} -> d/", secrets={**at.secrets("alice"), "AWS_SECRET_ACCESS_KEY": "wrong"}, storage_class=at.answers_count)
    at.refused_inputs(world, DENIED, f"{inputs} -> d/", secrets={}, storage_class=at.answers_count)
    need(at.guard.body_bytes(f"/{bucket}/tree/b/c.bin") == before, "contents left the store for a refusal")
    need(pod.read("d/b/c.bin") == TREE["tree/b/c.bin"], "contents")
    pod.unpublish()


@on_both("prefix-each-object-or-the-list")
def authorize(world, at):
    """authorize: prefix asks for the list and one object of a hit, object for each."""
    bucket = tree(at)
    for rule, most in (("prefix", 1), ("object", 5)):
        own = world.guard(at.server.port, guard.AwsKeys())
        name = world.add_class(f"{at.storage_class}-{rule}", s3Endpoint=own.url().rstrip("/"), s3Region="us-east-1", authorize=rule)
        for turn in range(2):
            pod, before = world.node.pod("authorize"), own.count()
            pod.publish_as_kubelet(f"s3://{bucket}/tree/ -> d/", storageClass=name, secrets=at.secrets("alice"))
            need(names_below(pod.target / "d") == sorted(GLOBS["tree/"]), "names")
            pod.unpublish()
        asked = {record["path"] for record in own.requests()[before:] if record["path"].startswith(f"/{bucket}/tree/")}
        need(len(asked) == most, f"{rule}: {sorted(asked)}")


@on_both("prefix-over-the-limits")
def limits(world, at):
    bucket = tree(at)
    for word, parameters in (("maxFiles|files", {"maxFiles": "2"}), ("maxBytes|KiB|bytes", {"maxBytes": "2Ki"})):
        own = world.guard(at.server.port, guard.AwsKeys())
        name = world.add_class(f"{at.storage_class}-{next(iter(parameters)).lower()}", s3Endpoint=own.url().rstrip("/"), s3Region="us-east-1", **parameters)
        pod = world.node.pod("prefix-limit")
        pod.final(Code.RESOURCE_EXHAUSTED, lambda p=pod, n=name: p.publish(f"s3://{bucket}/tree/ -> d/", storageClass=n, secrets=at.secrets("alice")), word)
        need(not [record for record in own.requests() if record["path"].startswith(f"/{bucket}/tree/")], "something was downloaded first")
