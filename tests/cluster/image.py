"""Container images without a registry: an OCI archive of one layer, made from files on this machine."""

import gzip
import hashlib
import io
import json
import pathlib
import tarfile

# What a registry's name would be; nothing is ever pulled from it.
REGISTRY = "images.test"
BUSYBOX = "/bin/busybox"


def add_bytes(archive, name, data, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def layer(files, links=(), directories=("tmp",)):
    """An uncompressed tar: files is {path inside: (bytes or a host path, mode)}, links {path inside: target}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in directories:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(entry)
        for name, (content, mode) in files.items():
            add_bytes(archive, name, content if isinstance(content, bytes) else pathlib.Path(content).read_bytes(), mode)
        for name, target in dict(links).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return buffer.getvalue()


def write_archive(path, name, content, config):
    """An OCI archive with one image called name (registry/repository:tag); config is its "config" object (Entrypoint, Env, User)."""
    blobs = {}

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    packed = blob(gzip.compress(content, compresslevel=1, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    described = {"architecture": "amd64", "os": "linux", "config": config,
                 "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]}}
    manifest = blob(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [packed],
        "config": blob(json.dumps(described).encode(), "application/vnd.oci.image.config.v1+json")}).encode(),
        "application/vnd.oci.image.manifest.v1+json")
    manifest["annotations"] = {"io.containerd.image.name": name}
    with tarfile.open(path, "w") as archive:
        add_bytes(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add_bytes(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())
        for digest, data in blobs.items():
            add_bytes(archive, f"blobs/sha256/{digest}", data)
    return name


def busybox_image(path, name=f"{REGISTRY}/busybox:1"):
    """A shell and its tools in one static binary, for pods of tests."""
    applets = ("sh", "cat", "ls", "sleep", "sha256sum", "md5sum", "find", "wc", "test", "dd", "stat", "touch", "true", "echo", "date", "id")
    files = {"bin/busybox": (BUSYBOX, 0o755), "etc/passwd": (b"root:x:0:0:root:/:/bin/sh\n", 0o644)}
    content = layer(files, {f"bin/{each}": "busybox" for each in applets}, ("bin", "etc", "tmp"))
    return write_archive(path, name, content, {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]})


def pause_image(path, name=f"{REGISTRY}/pause:1"):
    """What holds a pod's namespaces: it waits, and ends when it is told to."""
    script = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait; done"
    return write_archive(path, name, layer({"bin/busybox": (BUSYBOX, 0o755)}, (), ("bin",)),
                         {"Entrypoint": ["/bin/busybox", "sh", "-c", script]})


def program_image(path, name, program):
    """A directory with one static or self-contained program."""
    return write_archive(path, name, layer({f"bin/{pathlib.Path(program).name}": (program, 0o755)}, (), ("bin", "tmp")),
                         {"Entrypoint": [f"/bin/{pathlib.Path(program).name}"]})
