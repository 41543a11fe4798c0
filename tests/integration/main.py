"""Starts the servers and one plugin, runs the tests (several at a time: most of them wait), and says what came out."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time

import harness
import hostile
import s3
import selftest
from world import World, run_test, run_tests

MODULES = ("rows_requests", "rows_attributes", "rows_urls", "rows_names", "rows_http", "rows_limits", "fills", "sources", "kubernetes", "observe",
           "leftovers", "claims", "identities")
# None of these may appear in any log: passwords, keys and tokens of the tests, bodies of error pages, signed queries.
SECRETS = (s3.SECRET_KEY, "swordfish", "token-of-the-pod", "signature-of-a-url", "token-of-the-node", hostile.SECRET_BODY.decode())


def run_selftest():
    """On a server of its own: the tests count what is asked of theirs."""
    server, results = hostile.HostileServer(harness.WORK / "selftest.log"), []
    for name, complaint in selftest.run(server):
        harness.report(f"servers/{name}", complaint, 0)
        results.append(complaint is None)
    server.stop()
    return results


def run_go(world):
    """The Go client prints lines of its own."""
    program = os.environ.get("SC_GO_CLIENT")
    if not program:
        harness.log("# no Go client: not run")
        return []
    url = world.file("go/small.txt", b"small\n" * 100)
    slow = world.hostile.url("gate/4000000/go")
    done = subprocess.run([program, str(world.node.socket), str(world.node.kubelet), url, slow], capture_output=True, text=True,
                          timeout=120, check=False)
    lines = re.findall(r"^((?:not )?ok go/.*)$", done.stdout, re.M)
    harness.log("\n".join(lines))
    if done.returncode or not lines:
        harness.log(f"not ok go/client: status {done.returncode} {done.stderr[-1500:]}")
        return [False]
    return [line.startswith("ok ") for line in lines]


def run_go_bounded(world):
    try:
        return run_go(world)
    except subprocess.TimeoutExpired as error:
        harness.log(f"not ok go/client: not over after {error.timeout} s: {error.stdout} {error.stderr}")
        return [False]


def logs_hold_no_secret(_):
    for plugin in harness.Plugin.everyone:
        text = plugin.log()
        for secret in SECRETS:
            harness.need(secret not in text, f"{plugin.dir.name}: a secret in the log: {secret[:4]}...")


def private_memory(node):
    """KiB of Pss_Anon by process."""
    result = {}
    for name, pid in {"node": node.process.pid, **node.children()}.items():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one mount helper follows another
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            result[name] = int(re.search(r"Pss_Anon: +(\d+)", text).group(1))
    return result


def memory(world):
    """An idle plugin and its fetcher, which have served a volume; for the record, also what all these tests have left behind."""
    url = world.file("memory.bin", os.urandom(32 << 20))
    with harness.Node("idle") as node:
        pod = node.pod("idle")
        pod.publish(url)
        pod.unpublish()
        time.sleep(12)  # threads end after ten seconds without work
        idle = private_memory(node)
    harness.log(f"# idle memory (Pss_Anon, KiB): {idle}; after all the tests: {private_memory(world.node)}")
    if "san" not in os.environ.get("SC_PRESET", ""):
        harness.need(idle["node"] + idle["fetcher"] < 8 * 1024, f"{idle}")


def run_all(world, words):
    chosen = [entry for entry in harness.TESTS if not words or any(word in entry[0] for word in words)]
    results = []
    if not words:
        results += run_selftest()
        results += run_go_bounded(world)
    results += run_tests(world, chosen)
    if not words:
        results.append(run_test(world, "idle-memory", memory))
    world.node.stop()
    world.controller.stop()
    results.append(run_test(world, "logs-hold-no-secret", logs_hold_no_secret))
    if os.environ.get("SC_KEEP"):
        harness.log(world.node.log()[-20000:])
    world.stop()
    return results


harness.suite("integration", MODULES, lambda: run_all(World(), sys.argv[1:]))
