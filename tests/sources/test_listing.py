"""Prefixes and globs on S3 servers of two makes: what a pod sees of many keys, and what is refused by name before anything is downloaded."""

import concurrent.futures
import re

from harness import Code, need
from test_s3 import KEYS, on_both, published

TREE = ("train/a.csv", "train/b.csv", "train/c.txt", "train/deep/a.csv", "train/deep/er/z.csv", "train/ä.csv", "train-2/a.csv", "train*/x.csv",
        "top.csv", "logs/2026-01/01/part-0.log", "logs/2026-01/02/part-0.log", "logs/2026-02/01/part-1.log", "logs/2025-12/31/part-0.log")


def files_below(pod, place_of=""):
    root = pod.target / place_of
    return sorted(str(each.relative_to(root)) for each in root.rglob("*") if not each.is_dir())


def fill(at, keys, top):
    """Puts keys below a directory of their own, each with itself as its contents; returns what URLs begin with."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        client = at.server.client()
        list(pool.map(lambda key: client.put_object(Bucket=at.bucket, Key=f"{top}/{key}", Body=key.encode()), keys))
    return f"s3://{at.bucket}/{top}/"


@on_both("list prefix")
def prefix(world, at):
    url = fill(at, TREE, "tree")
    expected = sorted(key.removeprefix("train/") for key in TREE if key.startswith("train/"))
    with published(world, at, f"{url}train/\n{url}train/deep/ -> again/\n{url}train/a.csv -> again/one.csv") as pod:
        need(files_below(pod) == sorted([*expected, "again/a.csv", "again/er/z.csv", "again/one.csv"]), str(files_below(pod)))
        need(pod.read("deep/er/z.csv") == b"train/deep/er/z.csv" and pod.read("again/er/z.csv") == b"train/deep/er/z.csv", "contents")


GLOBS = {
    "train/*.csv": ["a.csv", "b.csv", "ä.csv"],
    "train/?.csv": ["a.csv", "b.csv", "ä.csv"],
    "train/[!b-z].csv": ["a.csv", "ä.csv"],
    "train/**/a.csv": ["a.csv", "deep/a.csv"],
    "train%2A/*": ["x.csv"],
    "train*/a.csv": ["train-2/a.csv", "train/a.csv"],
    "logs/2026-*/**": ["2026-01/01/part-0.log", "2026-01/02/part-0.log", "2026-02/01/part-1.log"],
    "logs/*/[03]1/part-0.log": ["2025-12/31/part-0.log", "2026-01/01/part-0.log"],
    "**/z.*": ["train/deep/er/z.csv"],
}


@on_both("list globs")
def globs(world, at):
    url = fill(at, TREE, "globs")
    with published(world, at, "\n".join(f"{url}{glob} -> {number}/" for number, glob in enumerate(GLOBS))) as pod:
        for number, (glob, names) in enumerate(GLOBS.items()):
            need(files_below(pod, str(number)) == sorted(names), f"{glob}: {files_below(pod, str(number))}")


@on_both("list keys-of-every-kind")
def odd_keys(world, at):
    url = fill(at, KEYS, "odd")
    with published(world, at, url) as pod:
        need(files_below(pod) == sorted(KEYS), str(files_below(pod)))
        need(all(pod.read(key) == key.encode() for key in KEYS), "contents")


@on_both("list pages")
def pages(world, at):
    """More than a page holds, and markers of directories between them."""
    keys = [f"{number % 7}/{number:05d}" for number in range(1345)]
    url = fill(at, keys, "pages")
    for number in range(7):
        at.server.put(at.bucket, f"pages/{number}/", b"")
    with published(world, at, f"{url}\n{url}3/*7 -> sevens/") as pod:
        sevens = [key[2:] for key in keys if key.startswith("3/") and key.endswith("7")]
        need(files_below(pod) == sorted(keys + [f"sevens/{name}" for name in sevens]), f"{len(files_below(pod))} files")


@on_both("list is-what-it-was")
def later_keys(world, at):
    """A pod sees what was there when it came; the next one what is there then."""
    url = fill(at, ("a", "b"), "grows")
    with published(world, at, url) as first:
        at.server.put(at.bucket, "grows/c", b"c")
        at.server.put(at.bucket, "grows/a", b"other")
        with published(world, at, url) as second:
            need(files_below(first) == ["a", "b"] and first.read("a") == b"a", "the first pod's files changed")
            need(files_below(second) == ["a", "b", "c"] and second.read("a") == b"other", "the second pod's files")


ODD = {
    "control": (("a\nb", "fine"), "'odd-control/a\\x0ab': a path has a control character"),
    "nfs": (("x/.nfs0001", "fine"), "'odd-nfs/x/.nfs0001': path 'x/.nfs0001': has a segment that begins with '.nfs'"),
    "case": (("x/A.csv", "x/a.csv"), "'x/A.csv': another key differs from it only in upper and lower case ('x/a.csv')"),
    "cases": (("X/1", "x/2"), "'X/1': another key's directories differ from its own only in upper and lower case ('x/2')"),
}


@on_both("list refused-by-name")
def refused_by_name(world, at):
    for name, (keys, cause) in ODD.items():
        url = fill(at, keys, f"odd-{name}")
        message = at.refused(world, Code.INVALID_ARGUMENT, url, "cannot be a file of a volume", "name single objects, or use a glob")
        need(cause in message, message)
        need(not at.body_requests(f"odd-{name}/{keys[0]}"), "was downloaded")
    with published(world, at, f"s3://{at.bucket}/odd-case/x/[a].csv\ns3://{at.bucket}/odd-control/fi*") as pod:
        need(files_below(pod) == ["a.csv", "fine"], "a glob leaves odd keys out")


@on_both("list nothing-there")
def nothing(world, at):
    fill(at, ("a.csv",), "few")
    at.server.put(at.bucket, "marker/", b"")
    for path in ("none/", "marker/", "Few/"):
        at.refused(world, Code.NOT_FOUND, f"s3://{at.bucket}/{path}", "no object is below this prefix", "upper and lower case")
    at.refused(world, Code.NOT_FOUND, f"s3://{at.bucket}/few/*.txt", "none of the 1 keys that begin with 'few/' matches this glob")
    pod = world.node.pod("no-listing")
    pod.final(Code.INVALID_ARGUMENT, lambda: pod.publish("https://127.0.0.1/few/"), "line 1", "https:// has no listings: name one file")


LIMITS = (({"maxFiles": "1000"}, "more than the 1000 files that the class allows"), ({"maxBytes": "2k"}, "the first 501 files have 2.0 KiB, the class allows"))


@on_both("list limits-come-first")
def limits(world, at):
    """Known from the listing alone: no object is asked for."""
    url = fill(at, [f"{number:04d}" for number in range(1200)], "limits")
    for number, (limit, words) in enumerate(LIMITS):
        storage_class = world.add_class(f"{at.storage_class}-limit-{number}", s3Endpoint=at.guard.url().rstrip("/"), s3Region="us-east-1", **limit)
        pod = world.node.pod("s3-limit")
        pod.final(Code.RESOURCE_EXHAUSTED, lambda c=storage_class, p=pod: p.publish(url, storageClass=c, secrets=at.secrets("alice")), "input 1", words)
    need(not [each for each in at.guard.requests(refused=False) if each["path"].startswith(f"/{at.bucket}/limits/0")], "an object was asked for")


@on_both("list without-the-right")
def without_right(world, at):
    url = fill(at, ("a", "b"), "private")
    for _ in range(2):
        at.refused(world, Code.PERMISSION_DENIED, url, "403", account="bob")
        with published(world, at, url) as pod:
            need(files_below(pod) == ["a", "b"], "alice's files")
            at.refused(world, Code.PERMISSION_DENIED, url, "403", account="bob")


@on_both("list two-prefixes-in-one-place")
def shared_place(world, at):
    one, two = fill(at, ("a", "d/x"), "one"), fill(at, ("b", "d/y"), "two")
    with published(world, at, f"{one} -> both/\n{two} -> both") as pod:
        need(files_below(pod, "both") == ["a", "b", "d/x", "d/y"], str(files_below(pod)))
    at.server.put(at.bucket, "two/a", b"another a")
    pod = world.node.pod("s3-clash")
    pod.final(Code.INVALID_ARGUMENT, lambda: pod.publish(f"{one} -> both/\n{two} -> both/", storageClass=at.storage_class, secrets=at.secrets("alice")),
              re.escape(f"input 1 ({one}) and input 2 ({two}) conflict at 'both/a'"))
