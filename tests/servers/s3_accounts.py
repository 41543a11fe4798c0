"""S3 servers of two makes with several accounts, and boto3 as their client. root owns everything, alice may read the buckets that she
is granted, bob has an account and no right. Buckets are made by servers' make_bucket(), objects put by client()."""

import json
import os
import pathlib
import shutil
import time

import boto3
import botocore.config
import botocore.exceptions
import canaries
from nginx import free_port, start_server, stop_server, wait_for_port

REGION = "us-east-1"
ACCOUNTS = ("root", "alice", "bob")


class Keys:
    """One account's keys; the secret has the characters that make signing hard."""

    def __init__(self, name):
        self.name, self.access, self.session, self.buckets = name, f"{name.upper()}ACCESSKEY0", None, set()
        self.secret = canaries.make("aws-secret-key", "/+=&%")

    @property
    def pod_secret(self):
        session = {"AWS_SESSION_TOKEN": self.session} if self.session else {}
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret, **session}


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
                            aws_access_key_id=keys and keys.access, aws_secret_access_key=keys and keys.secret, aws_session_token=session or (keys and keys.session))

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


class MinIO(S3Server):
    """Another make. alice and bob have keys for a session each, which its own token service gave them: bob's allow nothing."""

    def __init__(self, directory):
        super().__init__()
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True)
        root = self.keys["root"]
        environment = {**os.environ, "MINIO_ROOT_USER": root.access, "MINIO_ROOT_PASSWORD": root.secret, "MINIO_BROWSER": "off", "HOME": str(directory),
                       "MINIO_UPDATE": "off"}
        command = [shutil.which("minio"), "server", "--quiet", "--address", f"127.0.0.1:{self.port}", str(directory / "data")]
        self.process = start_server(command, directory / "minio.log", env=environment)
        wait_for_port(self.port, self.process, "minio")
        self.wait_until_ready()
        self.grant("no-bucket", ACCOUNTS[1:])

    def wait_until_ready(self):
        """Its port answers before its store and its token service do."""
        for _ in range(400):
            try:
                return self.session_for("root", [])
            except botocore.exceptions.ClientError as error:
                if "not initialized" not in str(error):
                    raise
            time.sleep(0.05)
        raise RuntimeError("minio is not ready")

    def session_for(self, name, buckets):
        root = self.keys["root"]
        service = boto3.client("sts", endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id=root.access, aws_secret_access_key=root.secret)
        resources = [f"arn:aws:s3:::{each}{end}" for each in [*buckets, "no-bucket"] for end in ("", "/*")]
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"], "Resource": resources}]}
        return service.assume_role(RoleArn="arn:aws:iam::000000000000:role/reader", RoleSessionName=name, Policy=json.dumps(policy))["Credentials"]

    def grant(self, bucket, readers):
        """New sessions for these accounts, which may read and list what they were granted so far."""
        for name in readers:
            keys = self.keys[name]
            keys.buckets.add(bucket)
            made = self.session_for(name, sorted(keys.buckets))
            keys.access, keys.secret, keys.session = made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]
            canaries.add("aws-secret-key", keys.secret)
            canaries.add("aws-session-token", keys.session)

    def stop(self):
        stop_server(self.process)
