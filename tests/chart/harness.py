"""What the chart's tests stand on: helm, the values files, and a list of tests. Each proves one promise and says what it saw."""

import json
import os
import pathlib
import re
import subprocess
import sys
import traceback

import yaml

ROOT = pathlib.Path(os.environ["SC_ROOT"])
WORK = pathlib.Path(os.environ["SC_WORK"])
BINARY = os.environ["SC_BINARY"]
CRDS = pathlib.Path(os.environ["SC_CACHE"]) / "crds"
HERE = pathlib.Path(__file__).resolve().parent
CHART = ROOT / "deploy/helm/sharedcache-csi"
EXAMPLES = ROOT / "deploy/examples"
NAMESPACE = "sharedcache"
RELEASE = "sharedcache"
KUBERNETES = re.search(r"\bk8s\.io/kubernetes (v\S+)", (ROOT / "tests/cluster/go/go.mod").read_text())[1]

TESTS = []


def test(name):
    """Registers a test; one that takes an argument is given the control plane (cluster.ControlPlane)."""
    def register(function):
        TESTS.append((name, function))
        return function
    return register


def need(condition, text="condition"):
    if not condition:
        raise AssertionError(text)


def run(*command, text=None, check=True, seconds=120, **options):
    """The finished process; its output goes into the error when it should not have failed."""
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, timeout=seconds, check=False, **options)
    need(not check or done.returncode == 0, f"{' '.join(map(str, command[:4]))}...: {done.stderr.strip() or done.stdout.strip()}")
    return done


def values_files():
    """Every values file of the tests and the examples, by name; "defaults" is none."""
    found = {"defaults": None}
    for path in sorted([*(HERE / "values").glob("*.yaml"), *EXAMPLES.glob("values-*.yaml")]):
        found[path.stem] = path
    return found


def helm_arguments(values):
    arguments = [RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", KUBERNETES]
    return arguments + (["--values", values] if values else [])


def render(values, *more):
    """The chart's objects with a values file."""
    done = run("helm", "template", *helm_arguments(values), *more)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def find(objects, kind, name=None):
    found = [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    need(len(found) == 1, f"{len(found)} objects of kind {kind} {name or ''}")
    return found[0]


def write_values(name, values):
    path = WORK / f"{name}.values.yaml"
    path.write_text(json.dumps(values))
    return path


def run_tests(argument):
    failed = 0
    only = os.environ.get("SC_ONLY", "")
    chosen = [(name, function) for name, function in TESTS if only in name]
    for name, function in chosen:
        try:
            seen = function(argument) if function.__code__.co_argcount else function()
            print(f"ok chart/{name}" + (f": {seen}" if seen else ""), flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            if not isinstance(error, (AssertionError, RuntimeError, TimeoutError)):
                traceback.print_exc(file=sys.stdout)
            print(f"not ok chart/{name}: {error}", flush=True)
    return len(chosen) - failed, failed
