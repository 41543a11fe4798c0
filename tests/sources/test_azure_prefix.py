"""Prefixes and globs of Azure: azurite's own pages, with a key and by workload identity."""

import ssl
import threading

import guard
from azure_world import ACCOUNT, CONTAINER, READER, azure_world, url
from harness import Code, need, test
from listener import Listener
from test_azure import left_the_store, published, refused

TREE = {"tree/a.csv": b"a" * 10, "tree/sub/b.csv": b"b" * 3000, "tree/sub/ü +%&.csv": b"c", "tree/notes.txt": b"n", "tree/empty": b"", "trees": b"no"}


@test("azure prefix-and-glob")
def prefix(world):
    azure = azure_world(world)
    for name, body in TREE.items():
        azure.put(name, body)
    secrets = azure.key_secret
    with published(azure, f"az://{ACCOUNT}/{CONTAINER}/tree/ -> all/\naz://{ACCOUNT}/{CONTAINER}/tree/**/*.csv -> csv/", secrets=secrets) as made:
        found = {str(path.relative_to(made.target)): path.read_bytes() for path in made.target.rglob("*") if path.is_file()}
    wanted = {f"all/{name[5:]}": body for name, body in TREE.items() if name.startswith("tree/")}
    wanted.update({f"csv/{name[5:]}": body for name, body in TREE.items() if name.endswith(".csv")})
    need(found == wanted, f"{sorted(found)}, not {sorted(wanted)}")
    # One blob is one object, listed or named.
    before = left_the_store(azure, "tree/sub/b.csv")
    with published(azure, url("tree/sub/b.csv"), secrets=secrets) as made:
        need(made.read("b.csv") == b"b" * 3000 and left_the_store(azure, "tree/sub/b.csv") == before, "contents, not downloaded again")
    with published(azure, f"az://{ACCOUNT}/{CONTAINER}/tree/ -> all/", "azure-reader", tokens=azure.tokens()) as made:
        need(made.read("all/a.csv") == b"a" * 10, "contents by workload identity")
    refused(azure, Code.PERMISSION_DENIED, f"az://{ACCOUNT}/{CONTAINER}/tree/", "AuthorizationPermissionMismatch", storage_class="azure-stranger",
            tokens=azure.tokens(), target="x/")
    refused(azure, Code.NOT_FOUND, f"az://{ACCOUNT}/{CONTAINER}/no-such-tree/", secrets=secrets, target="x/")
    refused(azure, Code.NOT_FOUND, f"az://{ACCOUNT}/no-such-container/", "ContainerNotFound", secrets=secrets, target="x/")
    refused(azure, Code.INVALID_ARGUMENT, f"az://{ACCOUNT}/da*/x", "names no container", secrets=secrets, target="x/")


@test("azure prefix-with-an-archived-blob")
def prefix_archived(world):
    from azure.storage.blob import StandardBlobTier
    azure = azure_world(world)
    for name in ("mixed/warm", "mixed/cold"):
        azure.put(name, name.encode())
    with azure.service() as service:
        service.get_blob_client(CONTAINER, "mixed/cold").set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    refused(azure, Code.FAILED_PRECONDITION, f"az://{ACCOUNT}/{CONTAINER}/mixed/", "archive", "cold", secrets=azure.key_secret, target="x/")


class SmallPages(guard.Handler):
    """Azure's pages have 5,000 blobs; these have seven. What is signed with a key would not hold any more."""

    def ask(self, asked):
        self.path = self.path.replace("maxresults=5000", "maxresults=7")
        return super().ask(asked)


class SmallPagesGuard(guard.Guard):
    def __init__(self, azure):
        self.upstream_port, self.rule = azure.azurite.port, azure.guard.rule
        self.upstream_context = ssl.create_default_context(cafile=azure.world.nginx.ca)
        self.lock, self.records, self.faults = threading.Lock(), [], []
        Listener.__init__(self, SmallPages, azure.world.tls)


@test("azure prefix-of-many-pages")
def pages(world):
    azure = azure_world(world)
    small = world.kept(SmallPagesGuard(azure))
    azure.add_class("azure-small-pages", azureEndpoint=small.url().rstrip("/"), azureClientId=READER)
    contents = {f"paged/{number % 3}/{number:03}": b"%d" % number for number in range(60)}
    for name, body in contents.items():
        azure.put(name, body)
    with published(azure, f"az://{ACCOUNT}/{CONTAINER}/paged/ -> all/", "azure-small-pages", tokens=azure.tokens()) as made:
        found = {str(path.relative_to(made.target)): path.read_bytes() for path in made.target.rglob("*") if path.is_file()}
    need(found == {f"all/{name[6:]}": body for name, body in contents.items()}, f"{len(found)} files")
    lists = [record for record in small.requests() if "comp=list" in record["target"]]
    need(len([record for record in lists if "marker=" in record["target"]]) >= 6, f"{len(lists)} pages")
