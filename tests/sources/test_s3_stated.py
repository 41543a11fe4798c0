"""What S3 states about an object is checked: its checksums, of one piece and of many; a compressed object is kept as it is stored."""

import base64
import functools
import gzip
import hashlib
import threading

import guard
import harness
from harness import Code, need, test
from tokens import Tokens

BUCKET = "stated"
PART = 8 << 20
LOCK = threading.Lock()


@functools.cache
def place(world):
    """(guard, class)"""
    world.versity.make_bucket(BUCKET, readers=["alice"])
    proxy = world.guard(world.versity.port, guard.AwsSession(Tokens()))
    return proxy, world.add_class("s3-stated", s3Endpoint=proxy.url().rstrip("/"), s3Region="us-east-1")


def publish(world, key, timeout=60):
    with LOCK:
        _, storage_class = place(world)
    pod = world.node.pod("stated")
    return pod, lambda: pod.publish(f"s3://{BUCKET}/{key} -> x", storageClass=storage_class, secrets=world.versity.keys["alice"].pod_secret, timeout=timeout)


def damage(key, offset):
    """A byte of the file in which the server keeps the object; its ETag and its checksums stay as they were."""
    with open(harness.WORK / "versity" / "data" / BUCKET / key, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def body_of(name, size):
    return hashlib.shake_128(name.encode()).digest(size)


@functools.cache
def crc64_table():
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ 0x9A6C9329AC4BC9B5 if crc & 1 else crc >> 1
        table.append(crc)
    return table


@functools.cache
def crc64nvme(body):
    """boto3 has it in an extension of its own only."""
    crc, table = (1 << 64) - 1, crc64_table()
    for byte in body:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return base64.b64encode((crc ^ (1 << 64) - 1).to_bytes(8, "big")).decode()


@functools.cache
def crc32c(body):
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 if crc & 1 else crc >> 1
        table.append(crc)
    crc = 0xFFFFFFFF
    for byte in body:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return base64.b64encode((crc ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()


def put(world, key, body, algorithm=None, **options):
    if algorithm == "CRC64NVME":
        options["ChecksumCRC64NVME"] = crc64nvme(body)
    elif algorithm == "CRC32C":
        options["ChecksumCRC32C"] = crc32c(body)
    elif algorithm:
        options["ChecksumAlgorithm"] = algorithm
    with LOCK:
        place(world)
    world.versity.put(BUCKET, key, body, **options)


# Algorithm, and whether it can be composed of parts.
ALGORITHMS = (("CRC64NVME", "crc64nvme"), ("CRC32C", "crc32c"), ("SHA256", "sha256"))


@test("s3 stated checksums-of-small-objects")
def small(world):
    for algorithm, name in ALGORITHMS:
        key = f"small-{name}"
        put(world, key, body_of(name, 1000), algorithm)
        pod, call = publish(world, key)
        call()
        need(pod.read("x") == body_of(name, 1000), key)
        pod.unpublish()
        key = f"damaged-{name}"
        put(world, key, body_of(name, 1000), algorithm)
        damage(key, 500)
        pod, call = publish(world, key)
        pod.final(Code.FAILED_PRECONDITION, call, "input 1", f"{name} expected [0-9a-f]+ got [0-9a-f]+: the source's bytes")


@test("s3 stated checksums-of-large-objects", slow=True)
def large(world):
    for algorithm, name in ALGORITHMS[:2]:
        key, size = f"large-{name}", PART + 12345
        put(world, key, body_of(name, size), algorithm)
        pod, call = publish(world, key)
        call()
        need(hashlib.sha256(pod.read("x")).digest() == hashlib.sha256(body_of(name, size)).digest(), key)
        pod.unpublish()
        heads = [record for record in place(world)[0].requests(path=f"/{BUCKET}/{key}") if record["method"] == "HEAD"]
        need(len(heads) == 1 and heads[0]["status"] == 200, f"{len(heads)} HEADs")
        key = f"large-damaged-{name}"
        put(world, key, body_of(name, size), algorithm)
        damage(key, size - 1)
        pod, call = publish(world, key)
        pod.final(Code.FAILED_PRECONDITION, call, "input 1", f"{name} expected [0-9a-f]+ got [0-9a-f]+")


@test("s3 stated checksum-of-checksums-is-none", slow=True)
def composite(world):
    key, size = "composite", PART + 5000
    put(world, "nothing", b"x")
    client, body = world.versity.client(), body_of(key, size)
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")["UploadId"]
    parts = []
    for number, piece in enumerate((body[:PART], body[PART:]), 1):
        sent = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=piece, ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]})
    client.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    stated = client.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    need(stated.get("ChecksumSHA256", "").endswith("-2") or stated.get("ChecksumType") == "COMPOSITE", str(stated))
    pod, call = publish(world, key)
    call()
    need(hashlib.sha256(pod.read("x")).digest() == hashlib.sha256(body).digest(), "contents")
    pod.unpublish()


@test("s3 stated compressed-object-is-kept-as-it-is")
def compressed(world):
    body = gzip.compress(b"words " * 10000, mtime=0)
    put(world, "words.gz", body, algorithm="CRC64NVME", ContentEncoding="gzip")
    pod, call = publish(world, "words.gz")
    call()
    need(pod.read("x") == body, "the bytes as they are stored")
    pod.unpublish()
