"""What the tests of a suite share: servers, one plugin, and how a test is run and told of."""

import concurrent.futures
import time
import traceback

import harness
import hostile
import nginx
import s3

WORKERS = 6


class World:
    """What the tests share. Each test makes its own pods, and its own plugin where it needs other settings."""
    node_args = ()

    def __init__(self):
        self.root = harness.WORK / "origin"
        self.root.mkdir(mode=0o755)
        self.hostile = hostile.HostileServer(harness.WORK / "hostile.log")
        self.nginx = nginx.Nginx(harness.WORK / "nginx", self.root, tls=True)
        self.s3 = s3.VersityGateway(harness.WORK / "s3")
        self.s3.make_bucket("data")
        share = harness.WORK / "share"
        share.mkdir(mode=0o755)
        s3_class = {"s3Endpoint": self.s3.endpoint, "s3Region": s3.REGION}
        self.node = harness.Node("main", {
            "test": harness.LOOPBACK,
            "strict": {},
            "small": {**harness.LOOPBACK, "maxBytes": "1Mi"},
            "tls": {**harness.LOOPBACK, "caBundle": str(self.nginx.ca)},
            "s3": {**harness.LOOPBACK, **s3_class},
            "choice": {**harness.LOOPBACK, "podMayChoose": "copyPolicy", "shareType": "local", "share": str(share)},
            "copy": {**harness.LOOPBACK, "copyPolicy": "copy", "shareType": "local", "share": str(share)},
            "direct": {**harness.LOOPBACK, "shareType": "local", "share": str(share)},
            "ours-only": {**harness.LOOPBACK, "allowedNamespaces": "ml-*"},
            "sources": {**harness.LOOPBACK, "allowedSources": "https://data.example.com/"},
        }, args=self.node_args).start()
        self.controller = harness.Controller("controller").start()

    def file(self, name, data, mode=0o644):
        """Puts a file on the honest origin; returns its URL."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        return self.nginx.url(name)

    def stop(self):
        self.hostile.stop()
        self.nginx.stop()
        self.s3.stop()


def run_test(world, name, function):
    started, complaint = time.monotonic(), None
    harness.CURRENT.test = name
    try:
        function(world)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        where = next((f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(place) if "/tests/" in frame.filename
                      and "harness" not in frame.filename), "?")
        complaint = f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:900]}"
    harness.report(name, complaint, time.monotonic() - started)
    return complaint is None


def run_tests(world, chosen):
    """Entries of harness.TESTS: several at a time, slow ones first; then those that want to be alone."""
    together = sorted((entry for entry in chosen if not entry[2]), key=lambda entry: not entry[3])
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda entry: run_test(world, entry[0], entry[1]), together))
    return results + [run_test(world, name, function) for name, function, exclusive, _ in chosen if exclusive]
