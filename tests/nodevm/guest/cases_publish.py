"""Volumes from real shares: each share type, read from the share (direct) or from the node's disk (copy)."""

import contextlib
import os

import look
from csi import Later
from machine import run
from plugin import POLICIES, SHARES, Plugin
from report import Case, check, same
from servers import SHARES as SERVER_DIR
from servers import ORIGIN, SMB_PASSWORD, STORE_UID

FORMS = {"6.1": "whiteouts", "6.12": "data-only"}


class Family:
    """One plugin for all cases of a share type, with a class for each policy, and files that only this type asks for."""

    def __init__(self, world, share):
        self.world, self.share = world, share
        self.plugin = Plugin(world, f"publish-{share}")
        self.secret = look.SecretWatch(SMB_PASSWORD)
        self.files = {}
        for policy in POLICIES:
            self.plugin.add_class(f"{share}-{policy}", share, policy, subPath=f"cache/{share}-{policy}")
            for name, size in (("large.bin", 9 << 20), ("small.txt", 700), ("empty", 0)):
                key = f"{share}/{policy}/{name}"
                self.files[key] = world.origin.add(key, size)

    def names(self, policy):
        return {f"{self.share}/{policy}/{name}": place
                for name, place in (("large.bin", "data/large.bin"), ("small.txt", "small.txt"), ("empty", "data/deep/empty"))}

    def inputs(self, policy):
        return "".join(f"{self.world.origin.url(name)} -> {place}\n" for name, place in self.names(policy).items())

    def volume(self, policy, pod):
        return self.plugin.volume(f"{pod}-{policy}", f"{self.share}-{policy}", self.inputs(policy))

    def published(self, policy, pod):
        """Publishes and looks for the password meanwhile."""
        volume = self.volume(policy, pod)
        call = Later(self.plugin.client.publish, volume)
        while call.is_alive():
            self.secret.look()
            call.join(0.02)
        check(call.answer().ok, f"publish: {call.answer()}")
        return volume


def _right(family, policy, volume):
    """Exactly the declared files, with exactly their bytes; nothing of the store shows."""
    found = sorted(os.path.relpath(os.path.join(at, name), volume.target) for at, _, names in os.walk(volume.target) for name in names)
    same(found, sorted(family.names(policy).values()), "files in the volume")
    for name, place in family.names(policy).items():
        same(look.digest(f"{volume.target}/{place}"), family.files[name], f"digest of {place}")


def _objects(path):
    return [name for _, _, names in os.walk(path) for name in names if len(name) == 64]


def _staged(family):
    """Staging mounts the share and nothing else; it stays until the volume is unstaged."""
    client = family.plugin.client
    volume = family.volume("direct", "claim").persistent(family.plugin.kubelet_dir, f"claim-{family.share}")
    mounted = lambda: len(look.share_mounts(family.plugin.state_dir))
    same(mounted(), 0, "shares mounted before")
    for what, call, wanted in (("stage", client.stage, 1), ("publish", client.publish, 1), ("unpublish", client.unpublish, 1),
                               ("unstage", client.unstage, 0)):
        answer = call(volume)
        check(answer.ok, f"{what}: {answer}")
        same(mounted(), wanted, f"shares mounted after {what}")
        same(look.mounts_below(volume.staging), [], "mounts at the staging path")
        if what == "publish":
            _right(family, "direct", volume)


def _first(family, policy):
    volume = family.published(policy, "first")
    _right(family, policy, volume)
    for name in family.names(policy):
        size = os.path.getsize(f"{ORIGIN}/files/{name}")
        same(family.world.origin.bytes_sent(name), size, f"bytes of {name} that left the origin")
    copies = _objects(f"{family.plugin.state_dir}/store/objects")
    same(len(copies), 0 if policy == "direct" else 3, f"objects on the node's own disk ({copies})")


def _read_only(family, policy):
    volume = family.volume(policy, "first")
    check("Read-only" in run("touch", f"{volume.target}/new", wanted=(1,)), "a new file could be made")
    check("Read-only" in run("sh", "-c", f"echo x >>{volume.target}/small.txt", wanted=(1, 2)), "a file could be written")
    options = look.mounts_below(volume.target)[0].options
    check({"ro", "nosuid", "nodev"} <= set(options), f"options of the view: {options}")


def _second(family, policy):
    """A second pod: no byte is downloaded, no second mount of the share is made."""
    before = {name: family.world.origin.bytes_sent(name) for name in family.names(policy)}
    volume = family.published(policy, "second")
    _right(family, policy, volume)
    same({name: family.world.origin.bytes_sent(name) for name in before}, before, "bytes that left the origin")
    shares = [m.target for m in look.share_mounts(family.plugin.state_dir)]
    same(len(shares), 1, f"mounts of the share for all classes and pods ({shares})")


def _stats(family, policy):
    answer = family.plugin.client.stats(family.volume(policy, "first"))
    check(answer.ok, f"stats: {answer}")
    used = {usage.unit: usage.used for usage in answer.reply.usage}
    same(used.get(1), (9 << 20) + 700, "bytes used")


def _unpublish(family, policy):
    for pod in ("first", "second"):
        volume = family.volume(policy, pod)
        for _ in range(2):  # kubelet repeats itself
            answer = family.plugin.client.unpublish(volume)
            check(answer.ok, f"unpublish: {answer}")
        same(look.mounts_below(volume.target), [], "mounts left at the target")
        check(not os.path.lexists(volume.target), "the target is left")


def _form(family):
    """The kernel decides which form views have, and the plugin says which it took."""
    form = FORMS[family.world.kernel]
    check(form in family.plugin.log(), f"the log does not say {form}")


def _mount_options(family):
    share = look.share_mounts(family.plugin.state_dir)[0]
    check({"nosuid", "nodev", "noexec"} <= set(share.options), f"the share's mount has {share.options}")
    options = set(share.super_options)
    if family.share == "smb":
        check("vers=3.1.1" in options, f"options: {options}")
        return
    check("hard" in options and f"vers={'3' if family.share == 'nfs3' else '4.1'}" in options, f"options: {options}")
    if family.share == "nfs3":
        check("nolock" in options or "local_lock=all" in options, f"no nolock: {options}")
    check("lookupcache=pos" in options or "lookupcache=positive" in options, f"no lookupcache=positive: {options}")
    check(look.read_ahead_kb(share) > 128, f"read_ahead_kb is {look.read_ahead_kb(share)}")


def _owner(family):
    """Everything in the store belongs to the store's uid and is readable for a squashed root."""
    for policy in POLICIES:
        root = f"{SERVER_DIR}/{'smb' if family.share == 'smb' else 'open'}/cache/{family.share}-{policy}"
        same(os.stat(root).st_uid, STORE_UID, f"owner of {root}")
        objects = [os.path.join(at, name) for at, _, names in os.walk(f"{root}/objects") for name in names]
        check(len(objects) >= 3, f"objects in {root}: {objects}")
        for path in objects:
            same(os.stat(path).st_uid, STORE_UID, f"owner of {path}")


def _password(family):
    check(family.secret.rounds > 3, "nobody looked while volumes were published")
    check(look.share_mounts(family.plugin.state_dir), "the share is not mounted: nothing used the password")
    same(sorted(family.secret.seen), [], "places where the password was seen")
    check(SMB_PASSWORD not in family.plugin.log(), "the password is in the log")


def _emptied(family):
    """Nothing is left mounted, the share neither, and the plugin ends when told to."""
    same([m.target for m in look.mounts_below(family.plugin.root)], [], "mounts left")
    check(family.plugin.stop(), "the plugin did not end by itself at SIGTERM")


def _squash(world, share, policy):
    """An export that squashes root: the store is written by its own uid and read by a squashed root."""
    plugin = Plugin(world, f"squash-{share}-{policy}")
    name = f"squash-{share}-{policy}.bin"
    digest = world.origin.add(name, 3 << 20)
    plugin.add_class("squash", share, policy, export="squash", subPath=f"sub-{share}-{policy}")
    with contextlib.ExitStack() as stack:
        stack.callback(plugin.stop)
        plugin.start()
        volume = plugin.volume("pod", "squash", world.origin.url(name))
        answer = plugin.client.publish(volume)
        check(answer.ok, f"publish: {answer}")
        same(look.digest(f"{volume.target}/{name}"), digest, "digest")
        same(os.stat(f"{SERVER_DIR}/squash/sub-{share}-{policy}").st_uid, STORE_UID, "owner of the store at the server")
        answer = plugin.client.unpublish(volume)
        check(answer.ok, f"unpublish: {answer}")


def _not_writable(world):
    """row 75: root is squashed and the store's uid may not write."""
    os.makedirs(f"{SERVER_DIR}/squash/foreign", mode=0o755, exist_ok=True)
    plugin = Plugin(world, "not-writable")
    world.origin.add("not-writable.bin", 1000)
    plugin.add_class("squash", "nfs41", export="squash", subPath="foreign/cache")
    with contextlib.ExitStack() as stack:
        stack.callback(plugin.stop)
        plugin.start()
        answer = plugin.client.publish(plugin.volume("pod", "squash", world.origin.url("not-writable.bin")))
        same(answer.code, "FAILED_PRECONDITION", f"code ({answer})")
        check(f"uid {STORE_UID}" in answer.message, f"message: {answer.message}")


def cases(world):
    for share in SHARES:
        family = Family(world, share)
        if not (yield Case(f"publish/{share}/start", family.plugin.start, 60)):
            continue
        yield Case(f"publish/{share}/staged", lambda a=family: _staged(a), 90)
        for policy in POLICIES:
            for name, function in (("first", _first), ("read-only", _read_only), ("second", _second), ("stats", _stats)):
                yield Case(f"publish/{share}/{policy}/{name}", lambda f=function, a=family, p=policy: f(a, p), 90)
        for name, function in (("form", _form), ("mount-options", _mount_options), ("owner", _owner)):
            yield Case(f"publish/{share}/{name}", lambda f=function, a=family: f(a), 30)
        if share == "smb":
            yield Case("publish/smb/password", lambda a=family: _password(a), 30)
        for policy in POLICIES:
            yield Case(f"publish/{share}/{policy}/unpublish", lambda a=family, p=policy: _unpublish(a, p), 90)
        yield Case(f"publish/{share}/emptied", lambda a=family: _emptied(a), 60)
    for share in ("nfs3", "nfs41"):
        for policy in POLICIES:
            yield Case(f"publish/{share}/{policy}/root-squash", lambda s=share, p=policy: _squash(world, s, p), 90)
    yield Case("publish/nfs41/not-writable", lambda: _not_writable(world), 90)
