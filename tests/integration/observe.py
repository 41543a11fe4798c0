"""What people see: metrics, probes, events on pods, logs. The program is asked over HTTP as Prometheus and kubelet ask; the
events arrive at servers/kube_api.py."""

import concurrent.futures
import contextlib
import ctypes
import http.client
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import csi_pb2
import grpc
import harness
from harness import LOOPBACK, OWN, WORK, Code, Controller, Node, expect, need, test, wait_until
from kubernetes import cluster

PORTS = itertools.count(20800)
EVENTS = "/api/v1/namespaces/team-a/events"
HOST = "127.0.0.1"


class Watched:
    """A plugin's endpoint for probes and metrics."""

    def __init__(self):
        self.port = next(PORTS)
        self.flags = ("--http-endpoint", f"{HOST}:{self.port}")

    def ask(self, path, method="GET", timeout=8):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def scrape(self):
        status, text = self.ask("/metrics")
        need(status == 200, f"{status} {text}")
        return Metrics(text)


class Metrics:
    """A scrape: {name: {labels: value}}."""

    def __init__(self, text):
        self.text, self.values = text, {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
                self.values.setdefault(name, {})[labels or ""] = float(value)

    def get(self, name, **labels):
        """The sum of the series that have these labels; None without any."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        found = [value for given, value in self.values.get(name, {}).items() if wanted <= set(given.split(","))]
        return sum(found) if found else None

    def ours(self, name, **labels):
        return self.get(f"sharedcache_csi_{name}", **labels)


def promtool(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False)
    need(done.returncode == 0 and not done.stderr.strip(), f"promtool: {done.returncode} {done.stdout} {done.stderr}")


def operations(metrics, method, code):
    return metrics.get("csi_plugin_operations_seconds_count", driver_name=harness.DRIVER, method_name=f"/csi.v1.Node/{method}",
                       grpc_status_code=code)


@test("observe metrics-of-hits-misses-and-errors")
def metrics_of_publishes(world):
    share = WORK / "observe-share"
    share.mkdir(mode=0o755)
    watched, size = Watched(), 3 << 20
    classes = {"own": LOOPBACK, "shared": {**LOOPBACK, "shareType": "local", "share": str(share)}}
    url, gate = world.file("observe/a.bin", os.urandom(size)), f"gate/{size}/observe-wait"
    with Node("observe", classes, args=watched.flags) as node:
        before = watched.scrape()
        need(before.ours("input_misses_total") is None and before.ours("fetcher_restarts_total") == 0, "not a fresh plugin")
        node.pod("miss").publish(url, storageClass="shared")
        kept = node.pod("hit")
        kept.publish(url, storageClass="shared")
        pods = [node.pod("both") for _ in range(2)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            inputs = f"{world.hostile.url(gate)} -> data.bin"
            waiting = [pool.submit(pod.publish_as_kubelet, inputs, storageClass="own") for pod in pods]
            wait_until(lambda: watched.scrape().ours("fills_running") == 2, 20, "both fills run")
            world.hostile.open_gate("observe-wait")
            for each in waiting:
                each.result(60)
        missing = world.nginx.url("observe/none.bin?X-Amz-Signature=signature-of-a-url")
        expect(Code.NOT_FOUND, lambda: node.pod("failing").publish(missing, storageClass="shared"), "404")
        expect(Code.NOT_FOUND, lambda: node.pod("classless").publish(url, storageClass="unknown-to-us"))
        kept.unpublish()
        seen = watched.scrape()
    promtool(seen.text)
    wanted = {("input_hits_total", "shared"): 1, ("input_misses_total", "shared"): 1, ("hit_bytes_total", "shared"): size,
              ("miss_bytes_total", "shared"): size, ("fill_bytes_total", "shared"): size, ("input_misses_total", "own"): 2,
              ("miss_bytes_total", "own"): 2 * size, ("share_up", "shared"): 1, ("share_up", "own"): None,
              ("share_free_bytes", "own"): None}
    for (name, label), value in wanted.items():
        need(seen.ours(name, **{"class": label}) == value, f"{name} of {label}: {seen.ours(name, **{'class': label})}, not {value}")
    need(size <= seen.ours("fill_bytes_total", **{"class": "own"}) <= size + 10, "one download for both")
    for label, outcome, value in (("shared", "filled", 1), ("shared", "hit", 1), ("own", "filled", 1), ("own", "waited", 1)):
        got = seen.ours("publish_seconds_count", **{"class": label, "outcome": outcome})
        need(got == value, f"publish_seconds of {label} {outcome}: {got}")
    need(seen.ours("publish_seconds_bucket", outcome="hit", le="5") == 1, "a hit took longer than five seconds")
    need(seen.ours("fill_failures_total", **{"class": "shared", "cause": "not_found"}) == 1, "the failed fill")
    need(seen.ours("fill_seconds_count", result="done") == 4 and seen.ours("fill_seconds_count", result="failed") == 1, "fills")
    need(seen.ours("volumes_published") == 3 and seen.ours("fills_running") == 0, "volumes and fills now")
    need(operations(seen, "NodePublishVolume", "OK") == 4 and operations(seen, "NodePublishVolume", "NotFound") == 2, "operations")
    space = os.statvfs(share)
    need(seen.ours("share_size_bytes", **{"class": "shared"}) == space.f_blocks * space.f_frsize, "size of the share")
    free = seen.ours("share_free_bytes", **{"class": "shared"})
    need(0 < free <= seen.ours("share_size_bytes"), f"{free} free")
    need(abs(time.time() - seen.ours("share_checked_timestamp_seconds")) < 60, "when the share was wanted")
    need(abs(time.time() - seen.get("process_start_time_seconds")) < 120, "start time")
    need(1 << 20 < seen.get("process_resident_memory_bytes") < 1 << 28 and 3 < seen.get("process_open_fds") < 200, "process")
    for word in ("observe/", "unknown-to-us", "signature-of-a-url", kept.name, kept.uid, kept.volume, str(share)):
        need(word not in seen.text, f"'{word}' in the metrics")


@test("observe metrics-of-a-share-that-is-not-there", slow=True)
def share_down(world):
    watched, share = Watched(), WORK / "observe-gone"
    share.mkdir(mode=0o755)
    url = world.file("observe/b.txt", b"b")
    with Node("observe", {"gone": {**LOOPBACK, "shareType": "local", "share": str(share)}}, args=watched.flags) as node:
        pod = node.pod("up")
        pod.publish(url)
        need(watched.scrape().ours("share_up", **{"class": "gone"}) == 1, "up")
        pod.unpublish()
        os.rename(share, WORK / "observe-elsewhere")
        expect((Code.UNAVAILABLE, Code.FAILED_PRECONDITION, Code.NOT_FOUND), lambda: node.pod("down").publish(url))
        seen = watched.scrape()
        need(seen.ours("share_up", **{"class": "gone"}) == 0, f"up: {seen.ours('share_up')}")
        need(watched.ask("/healthz") == (200, "ok\n"), "a share that is away made the plugin unhealthy")


@test("observe metrics-of-a-dying-fetcher", slow=True)
def fetcher_dies(world):
    """What both fetchers downloaded counts, and nothing twice."""
    watched, size = Watched(), 16 << 20
    path = f"slow:1000000/{size}/observe-death"
    with Node("observe", args=watched.flags) as node:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(node.pod("death").publish_as_kubelet, f"{world.hostile.url(path)} -> data.bin")
            wait_until(lambda: (watched.scrape().ours("fill_bytes_total") or 0) > 5 << 20, 60, "five megabytes are counted")
            os.kill(node.children()["fetcher"], signal.SIGKILL)
            wait_until(lambda: watched.scrape().ours("fetcher_restarts_total") == 1, 20, "the restart is counted")
            waiting.result(120)
        seen = watched.scrape()
        sent, counted = world.hostile.body_bytes("/" + path), seen.ours("fill_bytes_total")
        # What came in the half second before its death the first one did not tell.
        need(sent - (3 << 20) <= counted <= sent and counted >= size, f"{counted} counted, {sent} sent, {size} wanted")
        promtool(seen.text)


class Held:
    """One thread of a process, stopped as a debugger stops it; the others run on."""
    libc = ctypes.CDLL(None, use_errno=True)
    ATTACH, DETACH = 16, 17

    def __init__(self, pid, name):
        tasks = [task for task in pathlib.Path(f"/proc/{pid}/task").iterdir() if self.name_of(task) == name]
        need(len(tasks) == 1, f"{len(tasks)} threads are called {name}")
        self.thread = int(tasks[0].name)

    @staticmethod
    def name_of(task):
        """None: a thread that ended meanwhile."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return (task / "comm").read_text().strip()

    def ptrace(self, request):
        self.libc.ptrace.argtypes = [ctypes.c_long] * 4
        need(self.libc.ptrace(request, self.thread, 0, 0) == 0, f"ptrace: {os.strerror(ctypes.get_errno())}")

    def __enter__(self):
        self.ptrace(self.ATTACH)
        os.waitpid(self.thread, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_):
        self.ptrace(self.DETACH)


def fill_queue(node):
    """Connections that nobody accepts, until the queue is full."""
    waiting = []
    while True:
        waiting.append(socket.socket(socket.AF_UNIX))
        waiting[-1].setblocking(False)
        try:
            waiting[-1].connect(str(node.socket))
        except BlockingIOError:
            return waiting
        need(len(waiting) < 10000, "a queue without end")


@test("observe healthz-tells-of-a-server-that-hangs", slow=True)
def healthz(world):
    watched = Watched()
    with Node("observe", args=watched.flags) as node:
        need(watched.ask("/healthz") == (200, "ok\n"), "a healthy plugin")
        need(watched.ask("/healthz", "HEAD") == (200, ""), "HEAD")
        time.sleep(1.1)  # the answer counts for a second
        with Held(node.process.pid, "grpc-io"):
            started = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(10) as pool:
                answers = [pool.submit(watched.ask, "/healthz") for _ in range(10)]
                need(watched.ask("/metrics", timeout=1)[0] == 200, "metrics wait for the probe")
                statuses = [each.result(10)[0] for each in answers]
            need(statuses == [500] * 10, statuses)
            need(1 < time.monotonic() - started < 8, f"took {time.monotonic() - started:.1f} s: one probe was not for all")
            waiting, started = fill_queue(node), time.monotonic()
            time.sleep(1.1)
            need(watched.ask("/healthz")[0] == 500 and time.monotonic() - started < 6, "cannot even connect")
            for each in waiting:
                each.close()
        wait_until(lambda: watched.ask("/healthz")[0] == 200, 10, "healthy again")
        need(watched.ask("/livez")[0] == 404 and watched.ask("/healthz", "POST")[0] == 405, "only what there is")
        node.pod("after").publish(world.file("observe/c.txt", b"c"))


@test("observe readyz-follows-kubelet")
def readyz(_):
    watched, registered = Watched(), Watched()
    with Node("observe", args=(*watched.flags, "--no-register")):
        need(watched.ask("/readyz") == (200, "ok\n"), "ready once it serves")
        need(watched.scrape().ours("registered") is None, "nobody registers it")
    node = Node("observe", args=registered.flags)
    registry = node.kubelet / "plugins_registry"
    registry.mkdir()
    with node:
        status, text = registered.ask("/readyz")
        need(status == 503 and "kubelet" in text, f"{status} {text}")
        need(registered.scrape().ours("registered") == 0, "registered")
        need(registered.ask("/healthz")[0] == 200, "healthy, though not ready")
        path = registry / f"{harness.DRIVER}-reg.sock"
        wait_until(path.exists, 20, "the registration socket")
        with grpc.insecure_channel(f"unix:{path}", options=OWN) as channel:
            call = lambda name, body: channel.unary_unary(f"/pluginregistration.Registration/{name}")(body, timeout=5)
            need(harness.DRIVER.encode() in call("GetInfo", b""), "who it is")
            call("NotifyRegistrationStatus", b"\x08\x01")
        wait_until(lambda: registered.ask("/readyz")[0] == 200, 10, "ready")
        need(registered.scrape().ours("registered") == 1, "registered")


@test("observe controller-has-the-same-endpoint")
def controller(_):
    watched = Watched()
    with Controller("observe", args=watched.flags) as plugin:
        plugin.call("Probe", csi_pb2.ProbeRequest())
        need(watched.ask("/healthz") == (200, "ok\n") and watched.ask("/readyz") == (200, "ok\n"), "probes")
        seen = watched.scrape()
        promtool(seen.text)
        need(seen.get("csi_plugin_operations_seconds_count", method_name="/csi.v1.Identity/Probe") >= 1, "operations")
        need(seen.ours("fetcher_restarts_total") is None and seen.ours("build_info") == 1, "only what a controller has")


def connect(port):
    """Under way: it may never be accepted."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex((HOST, port))
    return connection


def ended(connection):
    """The other side has closed it."""
    try:
        return connection.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@test("observe endpoint-under-abuse", exclusive=True)
def abuse(world):
    """Garbage, endless heads, drips, and ten thousand connections: the plugin serves CSI all the while, and the endpoint afterwards."""
    watched = Watched()
    url = world.file("observe/d.txt", b"d")
    garbage = (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500), os.urandom(4000), b"GET\r\n\r\n", b"\r\n" * 1000,
               b"GET /metrics HTTP/1.1\r\n" + b"X-A: " + b"a" * 100000 + b"\r\n\r\n", b"GET /" + b"a" * 100000, b"GET / HTTP/9.9\r\n\r\n",
               b"GET /healthz HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
               b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
               b"".join(b"X-%d: y\r\n" % n for n in range(5000)), b"GET /metrics HTTP/1.1\r\n" * 400)
    with Node("observe", args=watched.flags) as node:
        descriptors = len(os.listdir(f"/proc/{node.process.pid}/fd"))
        for each in garbage * 3:
            with contextlib.suppress(OSError), socket.create_connection((HOST, watched.port), timeout=10) as connection:
                connection.sendall(each)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(10)
                while connection.recv(65536):
                    pass
        need(watched.ask("/healthz")[0] == 200, "after garbage")
        drips = [socket.create_connection((HOST, watched.port), timeout=10) for _ in range(100)]
        for byte in b"GET":
            for each in drips:
                with contextlib.suppress(OSError):
                    each.send(bytes([byte]))
            node.pod("abused").publish(url)
        for each in drips:
            each.setblocking(False)
        wait_until(lambda: all(ended(each) for each in drips), 20, "silent connections are closed")
        for _ in range(20):
            crowd = [connect(watched.port) for _ in range(500)]
            node.call("Probe", csi_pb2.ProbeRequest(), timeout=2)
            for each in (*drips, *crowd):
                each.close()
        wait_until(lambda: watched.ask("/healthz")[0] == 200, 10, "after ten thousand connections")
        promtool(watched.scrape().text)
        wait_until(lambda: len(os.listdir(f"/proc/{node.process.pid}/fd")) <= descriptors + 4, 10, "no descriptor is left")


def events(api, pod, reason=None):
    found = [each for path, each in list(api.objects.items()) if path.startswith(EVENTS) and each["involvedObject"]["name"] == pod.name]
    return [each for each in found if reason in (None, each["reason"])]


def the_event(api, pod, reason, seconds=10):
    found = wait_until(lambda: events(api, pod, reason), seconds, f"{reason} on {pod.name}: {[e['reason'] for e in events(api, pod)]}")
    need(len(found) == 1, f"{len(found)} events {reason}")
    return found[0]


@test("observe events-of-a-download", slow=True)
def events_of_download(world):
    """Told at two seconds and at fifteen, renewed rather than repeated, then ready with what was downloaded."""
    size = 20 << 20
    path = f"slow:400000/{size}/observe-events"
    hit = world.file("observe/e.txt", b"e" * 5000)
    with cluster() as (api, node):
        node.pod("first").publish(hit, storageClass="api")
        pod = node.pod("told")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            inputs = f"{world.hostile.url(path)}?X-Amz-Signature=signature-of-a-url -> data.bin\n{hit} -> hit.txt"
            waiting = pool.submit(pod.publish_as_kubelet, inputs, storageClass="api", timeout=120)
            first = the_event(api, pod, "InputCopying")
            need(first["count"] == 1 and re.search(r"cached \d.* of 20\.0 MiB \(\d+ percent\)", first["message"]), first)
            renewed = wait_until(lambda: next((e for e in events(api, pod, "InputCopying") if e["count"] > 1), None), 20, "it is renewed")
            need(renewed["message"] != first["message"] and "iB/s, about " in renewed["message"], renewed)
            waiting.result(120)
        ready = the_event(api, pod, "InputReady")
        need(re.fullmatch(r"2 inputs ready after \d+ s: 20\.0 MiB downloaded, 4\.9 KiB were in the cache", ready["message"]), ready["message"])
        need(ready["type"] == "Normal" and ready["involvedObject"] == {
            "apiVersion": "v1", "kind": "Pod", "namespace": "team-a", "name": pod.name, "uid": pod.uid}, ready)
        need(ready["source"] == {"component": harness.DRIVER, "host": "kube-node"}, ready)
        warm = node.pod("warm")
        warm.publish(hit, storageClass="api")
        posts = len(api.asked(f"POST {EVENTS}"))
        need(posts == 3, f"{posts} events for a miss, a download and a hit")
        need(not events(api, warm), "a warm hit is told")
        need("signature-of-a-url" not in json.dumps(api.objects), "a query in an event")


@test("observe events-of-a-failure", slow=True)
def events_of_failure(world):
    """What kubelet retries and retries is one event."""
    url = world.nginx.url("observe/nothing.bin?X-Amz-Signature=signature-of-a-url")
    watched = Watched()
    with cluster(*watched.flags) as (api, node):
        pod = node.pod("refused")
        for _ in range(5):
            expect(Code.NOT_FOUND, lambda: pod.publish(url, storageClass="api"), "404")
        event = the_event(api, pod, "InputDownloadFailed")
        need(event["type"] == "Warning" and "404" in event["message"] and "observe/nothing.bin" in event["message"], event)
        need("signature-of-a-url" not in json.dumps(api.objects), "a query in an event")
        wait_until(lambda: watched.scrape().ours("events_total", result="merged") == 4, 10, "the others are merged")
        requests = len(api.asked(f" {EVENTS}"))
        need(requests == 1, f"{requests} requests for one failure")


@test("observe events-cost-nothing-when-the-api-is-away", slow=True)
def api_away(world):
    watched = Watched()
    urls = [world.file(f"observe/away-{n}.txt", b"x" * n) for n in range(1, 9)]
    with cluster(*watched.flags) as (api, node):
        node.pod("first").publish(urls[0], storageClass="api")
        for away in (api.hang, api.stop):
            away()
            times = []
            for number, url in enumerate(urls[1:]):
                pod, started = node.pod("away"), time.monotonic()
                pod.publish(f"{url} -> {away.__name__}-{number}.txt", storageClass="api", timeout=20)
                times.append(time.monotonic() - started)
            need(max(times) < 4, f"{away.__name__}: {times}")
            urls = [world.file(f"observe/again-{n}.txt", b"y" * n) for n in range(1, 9)]
        wait_until(lambda: (watched.scrape().ours("events_total", result="failed") or 0) > 0, 30, "the failure is counted")
        need(watched.ask("/healthz")[0] == 200, "healthy")


@test("observe events-refused-by-the-api")
def api_refuses(world):
    """No right to write events: volumes work, one warning says so."""
    watched = Watched()
    with cluster(*watched.flags) as (api, node):
        api.forbidden.append("events")
        for number in range(5):
            node.pod("forbidden").publish(world.file(f"observe/forbidden-{number}.txt", b"z" * (number + 1)), storageClass="api")
        wait_until(lambda: watched.scrape().ours("events_total", result="failed") == 5, 10, "five refusals")
        warnings = [line for line in node.log().splitlines() if "event_failed" in line]
        need(len(warnings) == 1 and "forbidden" in warnings[0], warnings)
        need(len(api.asked(f"POST {EVENTS}")) == 5, "a refusal is not asked again")
    with cluster(*Watched().flags, "--no-events") as (api, node):
        node.pod("silent").publish(world.file("observe/silent.txt", b"silent"), storageClass="api")
        node.stop()
        need(not api.asked(EVENTS), "events though --no-events")


@test("observe log-as-json")
def log_as_json(world):
    with Node("observe", args=("--log-format", "json", "--log-level", "debug")) as node:
        node.pod("json").publish(world.file("observe/j.txt", b"j"))
        expect(Code.INVALID_ARGUMENT, lambda: node.pod("json").publish(world.nginx.url('observe/"quoted".bin')), '"')
        node.stop()
        lines = [json.loads(line) for line in node.log().splitlines()]
        need(all({"ts", "level", "event"} <= set(line) and all(isinstance(each, str) for each in line.values()) for line in lines), lines)
        need({"serving", "published", "rpc", "stopping"} <= {line["event"] for line in lines}, [line["event"] for line in lines])
