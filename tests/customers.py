"""A customer of Layer 4: a bucket at the real S3 server, and a key pair."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyrage

from custody.runtime.configuration import replace_file
from devstack.customer_key import CustomerKeyPair, create_customer_key
from devstack.s3 import S3Server
from mpc.layer4.settings import Layer4Section
from mpc.layer4.share_copy import ShareCopy, read_share_copy


@dataclass
class Customer:
    """``section``: [layer4] of the signer whose prefix is ``signer-1/``."""

    server: S3Server
    bucket: str
    key: CustomerKeyPair
    section: dict[str, Any]
    users: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, server: S3Server, folder: Path, *names: str, **bucket_options: Any) -> "Customer":
        """Make a bucket with a user and a prefix for each signer named."""
        bucket = f"copies-{uuid4().hex[:12]}"
        users = {f"{name}-{uuid4().hex[:8]}": f"{name}/" for name in names or ("signer-1",)}
        for user, prefix in users.items():
            server.add_user(user, folder / f"{prefix.rstrip('/')}.credentials")
        server.create_bucket(bucket, users, **bucket_options)
        key = create_customer_key(folder)
        customer = cls(server, bucket, key, {}, users)
        customer.section = customer.section_of(folder, next(iter(users.values())))
        return customer

    def section_of(self, folder: Path, prefix: str) -> dict[str, Any]:
        credentials = folder / f"{prefix.rstrip('/')}.credentials"
        table = self.server.section(self.bucket, prefix, credentials)
        return {**table, "customer_key_file": self.key.public_key}

    def settings(self, **changes: Any) -> Layer4Section:
        return Layer4Section.model_validate(self.section | changes)

    def names(self) -> list[str]:
        return self.server.names(self.bucket)

    def decrypted(self, name: str) -> bytes:
        identity = pyrage.ssh.Identity.from_buffer(self.key.private_key.read_bytes())
        return bytes(pyrage.decrypt(self.server.read(self.bucket, name), [identity]))

    def copies(self) -> list[ShareCopy]:
        """The contents of all share copies in the bucket, verified."""
        return [read_share_copy(self.decrypted(name)) for name in self.names()]

    def replace_key(self) -> None:
        """Put another key in the file that the signer reads."""
        folder = self.key.public_key.parent / "another"
        folder.mkdir()
        other = create_customer_key(folder)
        replace_file(self.key.public_key, other.public_key.read_bytes())
