"""What a container runtime does to a volume of a pod with hostUsers: false: it maps the mount to the pod's users."""

import contextlib
import ctypes
import os
import subprocess

OPEN_TREE, MOUNT_SETATTR = 428, 442  # the same numbers on every architecture
OPEN_TREE_CLONE, AT_EMPTY_PATH, MOUNT_ATTR_IDMAP = 1, 0x1000, 0x00100000
LIBC = ctypes.CDLL(None, use_errno=True)


class MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


@contextlib.contextmanager
def user_namespace():
    """A descriptor of a namespace in which root is another user outside."""
    with subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        # It answers once it is in its namespace.
        holder.stdin.write(b"x")
        holder.stdin.flush()
        holder.stdout.read(1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{holder.pid}/{name}", "w", encoding="ascii") as file:
                file.write("0 100000 65536")
        descriptor = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
            holder.stdin.close()


def errno_of_mapping(path):
    """0, or the error that the kernel gives when a copy of the mount at path is mapped to other users."""
    tree = LIBC.syscall(OPEN_TREE, -1, str(path).encode(), OPEN_TREE_CLONE)
    if tree < 0:
        raise OSError(ctypes.get_errno(), f"open_tree {path}")
    try:
        with user_namespace() as namespace:
            attributes = MountAttr(attr_set=MOUNT_ATTR_IDMAP, userns_fd=namespace)
            done = LIBC.syscall(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(attributes), ctypes.sizeof(attributes))
            return ctypes.get_errno() if done else 0
    finally:
        os.close(tree)
