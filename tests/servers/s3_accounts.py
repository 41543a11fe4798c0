"""S3 servers of two makes with several accounts, and boto3 as their client. root owns everything, alice may read the buckets that she
is granted, bob has an account and no right. Buckets are made by servers' make_bucket(), objects put by client()."""

import json
import os
import pathlib
import shutil
import subprocess

import boto3
import botocore.config
import canaries
from nginx import free_port, start_server, stop_server, wait_for_port

REGION = "us-east-1"
ACCOUNTS = ("root", "alice", "bob")


class Keys:
    """One account's keys; the secret has the characters that make signing hard."""

    def __init__(self, name):
        self.name, self.access = name, f"{name.upper()}ACCESSKEY0"
        self.secret = canaries.make("aws-secret-key", "/+=&%")

    @property
    def pod_secret(self):
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret}


class S3Server:
    """What both have in common."""

    def __init__(self):
        self.port, self.keys = free_port(), {name: Keys(name) for name in ACCOUNTS}

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, account="root", endpoint=None, session=None):
        """boto3, AWS's own client; account None: anonymous."""
        keys = self.keys[account] if account else None
        config = botocore.config.Config(signature_version="s3v4" if keys else botocore.UNSIGNED, s3={"addressing_style": "path"},
                                        retries={"max_attempts": 1}, request_checksum_calculation="when_required")
        return boto3.client("s3", endpoint_url=endpoint or self.endpoint, region_name=REGION, config=config,
                            aws_access_key_id=keys and keys.access, aws_secret_access_key=keys and keys.secret, aws_session_token=session)

    def make_bucket(self, bucket, readers=(), versions=False):
        client = self.client()
        client.create_bucket(Bucket=bucket)
        if versions:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        if readers:
            self.grant(bucket, readers)

    def put(self, bucket, key, body, **options):
        """Returns what the server said: ETag, VersionId."""
        return self.client().put_object(Bucket=bucket, Key=key, Body=body, **options)


class Versity(S3Server):
    """versitygw on a directory, with accounts, bucket policies and versions."""

    def __init__(self, directory):
        super().__init__()
        directory = pathlib.Path(directory)
        for name in ("data", "versions", "accounts"):
            (directory / name).mkdir(parents=True)
        # As its admin interface would leave it: no secret in a command line.
        users = {keys.access: {"access": keys.access, "secret": keys.secret, "role": "user", "userID": 0, "groupID": 0, "projectID": 0}
                 for name, keys in self.keys.items() if name != "root"}
        (directory / "accounts" / "users.json").write_text(json.dumps({"accessAccounts": users}))
        root = self.keys["root"]
        command = [shutil.which("versitygw"), "--port", f"127.0.0.1:{self.port}", "--region", REGION, "--iam-dir", str(directory / "accounts"),
                   "--keep-alive", "posix", "--versioning-dir", str(directory / "versions"), str(directory / "data")]
        self.process = start_server(command, directory / "versitygw.log", env={**os.environ, "ROOT_ACCESS_KEY": root.access, "ROOT_SECRET_KEY": root.secret})
        wait_for_port(self.port, self.process, "versitygw")

    def grant(self, bucket, readers):
        """The accounts that may read the bucket and list it, besides root."""
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": [self.keys[name].access for name in readers]},
             "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def stop(self):
        stop_server(self.process)


class GoFakeS3(S3Server):
    """The second server (tests/sources/go): rclone's gofakes3. It verifies signatures; every account may do everything."""

    def __init__(self, directory, binary):
        super().__init__()
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True)
        pairs = [text for keys in self.keys.values() for text in (keys.access, keys.secret)]
        self.log = open(directory / "gofakes3.log", "ab")
        # On its standard input: secrets are in no command line.
        self.process = subprocess.Popen([binary, f"127.0.0.1:{self.port}"], stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)
        self.process.stdin.write("".join(f"{text}\n" for text in [*pairs, ""]).encode())
        self.process.stdin.flush()
        wait_for_port(self.port, self.process, "the second S3 server")

    def grant(self, bucket, readers):
        """Nothing to do."""

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.log.close()
