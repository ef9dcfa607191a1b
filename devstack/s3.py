"""A real S3 server on this machine (versitygw), with a bucket as a customer would set it up."""

import http.client
import json
import secrets
import ssl
import threading
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from custody.runtime.configuration import replace_file, write_secret
from custody.runtime.errors import OperatorError
from devstack.certificates import Leaf
from devstack.configuration_file import Table
from devstack.launcher import Launcher
from devstack.processes import LOCALHOST, Program, free_port
from devstack.service import Service, clean_environment

VERSION = "v1.8.0"
BINARY = Path(__file__).resolve().parent.parent / "build" / "versitygw" / VERSION / "versitygw"
REGION = "us-east-1"
ROOT_USER = "root"
RETENTION_DAYS = 1
READY_SECONDS = 2.0
READS_BUCKET_FACTS = ("s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration")
"""What `layer4 init` reads, so that it can tell whether objects last."""


class S3Server(Service):
    """versitygw over a folder: objects are files. Its users are in a file of its own."""

    def __init__(self, folder: Path, log: Path, launcher: Launcher, leaf: Leaf) -> None:
        super().__init__("versitygw", launcher)
        self.folder = folder.resolve()  # versitygw changes into its root folder
        self.log = log
        self.leaf = leaf
        self.port = free_port()
        self._secret = secrets.token_hex(20)
        self._users: dict[str, str] = {}
        self._lock = threading.Lock()
        if not BINARY.exists():
            raise OperatorError(f"{BINARY} does not exist", "Run: make install")
        for each in (self.root, self.versions, self.users_file.parent):
            each.mkdir(parents=True, exist_ok=True)

    @property
    def endpoint(self) -> str:
        return f"https://{LOCALHOST}:{self.port}"

    @property
    def root(self) -> Path:
        """Return the folder of the buckets."""
        return self.folder / "buckets"

    @property
    def versions(self) -> Path:
        return self.folder / "versions"

    @property
    def users_file(self) -> Path:
        return self.folder / "iam" / "users.json"

    def program(self) -> Program:
        arguments: list[str | Path] = [
            BINARY,
            *("--port", f"{LOCALHOST}:{self.port}", "--region", REGION),
            *("--cert", self.leaf.certificate, "--key", self.leaf.private_key),
            *("--iam-dir", self.users_file.parent, "--iam-cache-disable"),
            *("--health", "/health", "--keep-alive"),
            *("posix", "--versioning-dir", self.versions, self.root),
        ]
        environment = clean_environment(
            ROOT_ACCESS_KEY_ID=ROOT_USER, ROOT_SECRET_ACCESS_KEY=self._secret
        )
        return Program(self.name, arguments, self.folder, self.log, environment)

    def is_ready(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self.leaf.ca))
        connection = http.client.HTTPSConnection(
            LOCALHOST, self.port, timeout=READY_SECONDS, context=trust
        )
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def add_user(self, name: str, credentials_file: Path) -> None:
        """Create a user without rights, and write a file with its credentials."""
        secret = secrets.token_hex(20)
        with self._lock:
            self._users[name] = secret
            accounts = {
                user: {
                    "access": user,
                    "secret": key,
                    "role": "user",
                    "userID": 0,
                    "groupID": 0,
                    "projectID": 0,
                }
                for user, key in self._users.items()
            }
            replace_file(self.users_file, json.dumps({"accessAccounts": accounts}).encode())
        write_secret(credentials_file, credentials_text(name, secret).encode())

    @cached_property
    def administrator(self) -> Any:
        """Client of the user who may do everything."""
        from botocore.config import Config
        from botocore.session import Session

        return Session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            verify=str(self.leaf.ca),
            aws_access_key_id=ROOT_USER,
            aws_secret_access_key=self._secret,
            config=Config(
                s3={"addressing_style": "path"},
                proxies={},
                # Puts have a Content-Length. By default botocore sends chunks and a trailer, and
                # versitygw answers before it has read the last chunk. It then takes these bytes
                # for the beginning of the next request, and refuses that.
                request_checksum_calculation="when_required",
            ),
        )

    def create_bucket(
        self,
        bucket: str,
        prefixes: Mapping[str, str],
        *,
        object_lock: bool = True,
        more_actions: tuple[str, ...] = (),
    ) -> None:
        """Create a bucket in which each user may only put below a prefix, given by user.

        ``more_actions``: what the policy allows everybody beside that, for tests.
        """
        client = self.administrator
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=object_lock)
        if object_lock:
            client.put_object_lock_configuration(
                Bucket=bucket,
                ObjectLockConfiguration={
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": RETENTION_DAYS}},
                },
            )
        policy = put_only_policy(bucket, prefixes, more_actions)
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def section(self, bucket: str, prefix: str, credentials_file: Path) -> Table:
        """Return the settings of this bucket, as a configuration file has them."""
        return {
            "endpoint": self.endpoint,
            "region": REGION,
            "bucket": bucket,
            "prefix": prefix,
            "ca": self.leaf.ca,
            "credentials_file": credentials_file,
        }

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the names of all objects below a prefix, as an administrator sees them."""
        pages = self.administrator.get_paginator("list_objects_v2")
        return [
            found["Key"]
            for page in pages.paginate(Bucket=bucket, Prefix=prefix)
            for found in page.get("Contents", ())
        ]

    def read(self, bucket: str, name: str) -> bytes:
        """Return an object's content."""
        content: bytes = self.administrator.get_object(Bucket=bucket, Key=name)["Body"].read()
        return content

    def download(self, bucket: str, folder: Path, prefix: str = "") -> list[Path]:
        """Write all objects into a folder, as the customer would. Return the files."""
        files = []
        for name in self.names(bucket, prefix):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.read(bucket, name))
            files.append(file)
        return files


def credentials_text(access_key: str, secret_key: str) -> str:
    """Return the text of a file of credentials."""
    return f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"


def put_only_policy(
    bucket: str, prefixes: Mapping[str, str], more_actions: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the policy of docs/how-to/layer4.md: each user may put below its prefix."""
    resource = f"arn:aws:s3:::{bucket}"
    users = {"AWS": list(prefixes)}
    statements: list[dict[str, Any]] = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": [user]},
            "Action": ["s3:PutObject"],
            "Resource": [f"{resource}/{prefix}*"],
        }
        for user, prefix in prefixes.items()
    ]
    statements.append(
        {
            "Effect": "Allow",
            "Principal": users,
            "Action": list(READS_BUCKET_FACTS),
            "Resource": [resource],
        }
    )
    if more_actions:
        statements.append(
            {
                "Effect": "Allow",
                "Principal": users,
                "Action": list(more_actions),
                "Resource": [resource, f"{resource}/*"],
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}
