"""Starts the cluster, installs the chart, runs the cases (several at a time: most of them wait), and says what came out."""

import concurrent.futures
import importlib
import pathlib
import signal
import sys
import time
import traceback

import harness
import world as world_module
from harness import Case, log, report

MODULES = ("cases_volumes", "cases_identity", "cases_faults", "cases_time", "cases_upheaval")
WORKERS = 6
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")


def complaint_of(error):
    frames = traceback.extract_tb(error.__traceback__)
    where = next((f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames) if "/cases_" in frame.filename), "?")
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:1500]}"


def dump(world, case):
    """What one needs to understand it: events, the plugin's log, what kubelet says of this namespace."""
    lines = []
    if case:
        lines += [f"event {text}" for text in case.messages()[-12:]]
        words = (case.namespace, *(pod["metadata"]["uid"] for pod in world.api.list("Pod", case.namespace)))
        kubelet = world_module.tail(world.cluster.node.dir / "kubelet.log", 100000)
        lines += [f"kubelet {line}" for line in kubelet if any(word in line for word in words)][-8:]
    lines += [f"plugin {line}" for line in world.log_of_plugin().splitlines()[-12:]]
    for line in lines:
        log(f"#   {line[:600]}")


def run_test(world, name, function):
    started, complaint, case = time.monotonic(), None, None
    try:
        case = Case(world, name)
        function(world, case)
        case.delete()
    except Exception as error:
        complaint = complaint_of(error)
    report(name, complaint, harness.since(started))
    if complaint:
        try:
            dump(world, case)
            if case:
                case.delete()
        except Exception as error:
            log(f"#   dump: {error}")
    return complaint is None


def wanted(words):
    for name in MODULES:
        importlib.import_module(name)
    return [each for each in harness.TESTS if not words or any(word in each[0] for word in words)]


def run_all(world, tests):
    together = [each for each in tests if each[2] == "together"]
    # The longest first: the others run beside it.
    together.sort(key=lambda each: "minutes" not in each[0])
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda each: run_test(world, each[0], each[1]), together))
    for phase in ("alone", "last"):
        results += [run_test(world, name, function) for name, function, when in tests if when == phase]
    return results


def machine_state():
    """What no namespace keeps apart."""
    values = [pathlib.Path("/proc/sys", name).read_text().strip() for name in SYSCTLS]
    return values, sorted(str(each) for each in pathlib.Path("/sys/fs/cgroup").glob("*/sharedcache-e2e-*"))


def start(world):
    started = time.monotonic()
    world.start()
    log(f"# the cluster is up after {harness.since(started):.1f} s")
    started = time.monotonic()
    world.install()
    log(f"# the chart is installed after {harness.since(started):.1f} s")


def main():
    # hack/test ends a suite that takes too long: what was started is then put away as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    tests, results = wanted(sys.argv[1:]), []
    before = machine_state()
    world = world_module.World()
    try:
        try:
            start(world)
            report("installed-by-helm", None, 0)
            results.append(True)
        except Exception as error:
            report("installed-by-helm", complaint_of(error), 0)
            results.append(False)
            if world.api:
                dump(world, None)
                log(world_module.kubectl(world, "get", "pods,events", "-A"))
        if results[0]:
            results += run_all(world, tests)
        for note in world.notes:
            log(f"# {note}")
    finally:
        world.stop()
    after = machine_state()
    harness.report("machine-is-as-it-was", None if after == before else f"{before} became {after}", 0)
    results.append(after == before)
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


sys.exit(main())
