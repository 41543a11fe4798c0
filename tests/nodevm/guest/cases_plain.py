"""The harness itself: plain mounts and overlay views by hand. When one of these fails, nothing below can be believed."""

import os
import re
import subprocess

import look
from machine import SERVER, inside, run
from report import Case, check, same
from servers import SHARES, SMB_PASSWORD, SMB_USER, STORE_UID, Nfs

OBJECT = "ab" + "0" * 62


def _mount_options(share, uid=0):
    if share == "smb":
        return ["cifs", f"//{SERVER}/cache", f"vers=3.1.1,username={SMB_USER},uid={uid},gid={uid},hard,nobrl,file_mode=0644,dir_mode=0755,actimeo=30,mfsymlinks"]
    version, more = {"nfs3": ("3", ",nolock"), "nfs41": ("4.1", "")}[share]
    return ["nfs", Nfs.source(version, "open"), f"vers={version}{more},lookupcache=positive,retry=0"]


def mount_share(share, target, uid=0):
    fstype, source, options = _mount_options(share, uid)
    os.makedirs(target, exist_ok=True)
    run("mount", "-t", fstype, "-o", options, source, target, env=dict(os.environ, PASSWD=SMB_PASSWORD))


def server_path(share):
    return f"{SHARES}/{'smb' if share == 'smb' else 'open'}"


def _served(share):
    """What is written at one end is there at the other, in the version that was asked for."""
    target = f"/mnt/{share}"
    mount_share(share, target)
    try:
        run("sh", "-c", f"echo hello >{target}/plain-{share}")
        with open(f"{server_path(share)}/plain-{share}", encoding="ascii") as file:
            same(file.read(), "hello\n", "contents at the server")
        options = look.mounts_below(target)[0].super_options
        version = {"smb": "vers=3.1.1", "nfs3": "vers=3", "nfs41": "vers=4.1"}[share]
        check(version in options, f"{version} not in {options}")
    finally:
        run("umount", target)


def _view(share, kernel):
    """A view by hand over objects on the share: data-only layers, or before Linux 6.5 whiteouts."""
    target, meta, view = f"/mnt/{share}", f"/mnt/node/plain-{share}", f"/mnt/view-{share}"
    mount_share(share, target)
    os.makedirs(f"{server_path(share)}/objects/ab", exist_ok=True)
    with open(f"{server_path(share)}/objects/ab/{OBJECT}", "wb") as file:
        file.write(b"x" * 5000)
    os.makedirs(meta)
    os.makedirs(view)
    _meta_layer(meta, kernel)
    colon = "::" if kernel != "6.1" else ":"
    try:
        run("mount", "-t", "overlay", "-o", f"ro,lowerdir={meta}{colon}{target}/objects,metacopy=on,redirect_dir=follow", "v", view)
        same(os.listdir(view), ["data.bin"], "names in the view")
        same(len(open(f"{view}/data.bin", "rb").read()), 5000, "bytes read through the view")
        run("umount", view)
    finally:
        run("umount", target)


def _meta_layer(meta, kernel):
    with open(f"{meta}/data.bin", "wb") as file:
        file.truncate(5000)
    os.setxattr(f"{meta}/data.bin", "trusted.overlay.metacopy", b"")
    os.setxattr(f"{meta}/data.bin", "trusted.overlay.redirect", f"/ab/{OBJECT}".encode())
    if kernel == "6.1":
        for number in range(256):
            os.mknod(f"{meta}/{number:02x}", 0o020000, os.makedev(0, 0))


def _squash():
    """Root is nobody at the server, the store's uid is itself."""
    target = "/mnt/squash"
    os.makedirs(target, exist_ok=True)
    run("mount", "-t", "nfs", "-o", "vers=4.1,retry=0", Nfs.source("4.1", "squash"), target)
    try:
        check("Permission denied" in run("touch", f"{target}/by-root", wanted=(1,)), "root could write")
        run("touch", f"{target}/by-uid", user=STORE_UID, group=STORE_UID)
        same(os.stat(f"{SHARES}/squash/by-uid").st_uid, STORE_UID, "owner at the server")
        os.unlink(f"{SHARES}/squash/by-uid")
    finally:
        run("umount", target)


def _silence(network, share):
    """The outage is one: with the server silent a look at the share hangs, and goes on when it is back."""
    target = f"/mnt/{share}"
    mount_share(share, target)
    try:
        with network.silent():
            reader = subprocess.Popen(["ls", target], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            try:
                status = reader.wait(3)
                raise AssertionError(f"ls answered with {status} while the server was silent")
            except subprocess.TimeoutExpired:
                pass
        same(reader.wait(60), 0, "ls after the server is back")
    finally:
        run("umount", target)


def _two_clients(network):
    """A second network namespace is a second NFS client: the server sees two."""
    address = network.add_client("node2")
    run("mkdir", "-p", "/mnt/one", "/mnt/two")
    run("mount", "-t", "nfs", "-o", "vers=4.1,retry=0", Nfs.source("4.1", "open"), "/mnt/one")
    run(*inside("node2", "mount", "-t", "nfs", "-o", "vers=4.1,retry=0", Nfs.source("4.1", "open", address), "/mnt/two"))
    try:
        same(len(os.listdir("/proc/fs/nfsd/clients")), 2, "clients known to the server")
        run("sh", "-c", "echo one >/mnt/one/two-clients")
        same(run("cat", "/mnt/two/two-clients"), "one\n", "read by the other client")
    finally:
        run("umount", "/mnt/one", "/mnt/two")


def _root_is_read_only():
    check(re.search("Read-only", run("touch", "/etc/by-the-guest", wanted=(1,))), "the host's files can be written")


def cases(world):
    yield Case("plain/root-is-read-only", _root_is_read_only, 10)
    for share in world.shares:
        yield Case(f"plain/{share}/served", lambda share=share: _served(share), 60)
        yield Case(f"plain/{share}/view", lambda share=share: _view(share, world.kernel), 60)
        yield Case(f"plain/{share}/silence", lambda share=share: _silence(world.network, share), 120)
    yield Case("plain/nfs41/root-squash", _squash, 30)
    yield Case("plain/nfs41/two-clients", lambda: _two_clients(world.network), 60)
