"""The server of very many objects is what AWS's own client takes it for."""

import os
import pathlib
import re
import time

import boto3
import botocore.config
import botocore.exceptions
import bulk_s3
import harness
from harness import need, test


def boto_client(bulk, **options):
    return boto3.client("s3", endpoint_url=bulk.endpoint, region_name="us-east-1",
                        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
                        **{"aws_access_key_id": bulk.access, "aws_secret_access_key": bulk.secret, **options})


def error_of(call):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return "none"


@test("bench bulk-s3-passes-boto3")
def bulk_stand_in(world):
    bulk = world.kept(bulk_s3.BulkS3(harness.WORK / "bulk-small", count=5500))
    client = boto_client(bulk)

    def pages(**options):
        return list(client.get_paginator("list_objects_v2").paginate(Bucket="bulk", **options))
    everything = [item for page in pages() for item in page["Contents"]]
    need([item["Key"] for item in everything] == [bulk.key(n) for n in range(5500)] and len(pages()) == 6, "all keys in order")
    need(everything[5]["Size"] == len(bulk.content(5)) and everything[5]["ETag"] == bulk_s3.etag_of(5), "size and ETag")
    few = pages(Prefix="data/003/00", PaginationConfig={"PageSize": 33})
    need([item["Key"] for page in few for item in page["Contents"]] == [bulk.key(3000 + n) for n in range(100)] and len(few) == 4, "a prefix")
    groups = pages(Prefix="data/", Delimiter="/", PaginationConfig={"PageSize": 4})
    need([each["Prefix"] for page in groups for each in page["CommonPrefixes"]] == [f"data/{n:03d}/" for n in range(6)] and len(groups) == 2, "a delimiter")
    after = client.list_objects_v2(Bucket="bulk", StartAfter=bulk.key(5490))
    need([item["Key"] for item in after["Contents"]] == [bulk.key(n) for n in range(5491, 5500)], "start-after")
    need(client.list_objects_v2(Bucket="bulk", Prefix="none/")["KeyCount"] == 0, "nothing")
    need(client.get_object(Bucket="bulk", Key=bulk.key(8))["Body"].read() == bulk.content(8), "an object")
    need(client.get_object(Bucket="bulk", Key=bulk.key(8), Range="bytes=5-9")["Body"].read() == bulk.content(8)[5:10], "a range")
    need(client.head_object(Bucket="bulk", Key=bulk.key(8))["ContentLength"] == len(bulk.content(8)), "HEAD")
    bulk.touch(8)
    errors = {"PreconditionFailed": lambda: client.get_object(Bucket="bulk", Key=bulk.key(8), IfMatch=bulk_s3.etag_of(8)),
              "NoSuchKey": lambda: client.get_object(Bucket="bulk", Key="none"), "NoSuchBucket": lambda: client.get_object(Bucket="other", Key="none"),
              "InvalidAccessKeyId": lambda: boto_client(bulk, aws_access_key_id="NOBODY").get_object(Bucket="bulk", Key=bulk.key(1)),
              "SignatureDoesNotMatch": lambda: boto_client(bulk, aws_secret_access_key="x").get_object(Bucket="bulk", Key=bulk.key(1)),
              "InvalidArgument": lambda: client.list_objects_v2(Bucket="bulk", ContinuationToken="made up")}
    for code, call in errors.items():
        need(error_of(call) == code, f"{code}: {error_of(call)}")
    need(bulk.stats()["complaints"] and all("token" in text for text in bulk.stats()["complaints"]), str(bulk.stats()))


def peaks(node):
    """MiB of peak resident memory by process."""
    found = {}
    for name, pid in {"node": node.process.pid, "fetcher": node.children()["fetcher"]}.items():
        found[name] = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) // 1024
    return found


def publish_timed(node, secrets, inputs, what, **options):
    pod, started = node.pod("bulk"), time.monotonic()
    pod.publish_as_kubelet(inputs, storageClass="bulk", secrets=secrets, seconds=900, **options)
    seconds = time.monotonic() - started
    count = sum(len(files) for _, _, files in os.walk(pod.target))
    harness.log(f"# {what}: {count} files in {seconds:.1f} s, peak memory in MiB: {peaks(node)}")
    pod.unpublish_as_kubelet()
    return count


@test("bulk a-prefix-of-very-many", slow=True, exclusive=True)
def very_many(world):
    """SC_BULK=200000 for the size that the project aims at (minutes): less than 256 MiB for both processes."""
    total = int(os.environ.get("SC_BULK", "20000"))
    bulk = world.kept(bulk_s3.BulkS3(harness.WORK / "bulk-many", count=total))
    secrets = {"AWS_ACCESS_KEY_ID": bulk.access, "AWS_SECRET_ACCESS_KEY": bulk.secret}
    with harness.Node("bulk", {"bulk": {**harness.LOOPBACK, "s3Endpoint": bulk.endpoint, "s3Region": "us-east-1"}}) as node:
        need(publish_timed(node, secrets, "s3://bulk/data/ -> d/", "cold") == total, "all files")
        asked = bulk.stats()["get"]
        need(publish_timed(node, secrets, "s3://bulk/data/ -> d/", "warm", timeout=120) == total, "all files")
        need(bulk.stats()["get"] == asked + 1, "one read proves the right, nothing is downloaded")
        need(publish_timed(node, secrets, "s3://bulk/data/**/*-1.bin -> d/", "warm, a glob of a third", timeout=120) == (total + 1) // 3, "a third")
        need(sum(peaks(node).values()) < 256, f"{peaks(node)}")
        # Calls that are over before the tree is built: the next one finds what the one before has made.
        need(publish_timed(node, secrets, "s3://bulk/data/ -> again/", "warm, in calls of a few seconds", timeout=4) == total, "all files")
