"""The customer's side of Layer 4: an S3 bucket with a prefix for each signer, and a key pair."""

from collections.abc import Sequence
from pathlib import Path

from devstack.certificates import Certificates
from devstack.configuration_file import Table
from devstack.customer_key import create_customer_key
from devstack.launcher import Launcher
from devstack.s3 import S3Server

BUCKET = "share-copies"


class CustomersBucket:
    """Where the signers of a stack put their share copies. ``signers``: their node ids."""

    def __init__(
        self,
        folder: Path,
        log: Path,
        launcher: Launcher,
        certificates: Certificates,
        signers: Sequence[str],
    ) -> None:
        self.server = S3Server(folder / "s3", log, launcher, certificates.server("s3"))
        self.key = create_customer_key(folder / "customer")
        self._folder = folder
        self._signers = signers

    def start(self) -> None:
        """Start the server, and create the bucket and a user for each signer."""
        self.server.start()
        for signer in self._signers:
            self.server.add_user(signer, self._credentials(signer))
        self.server.create_bucket(BUCKET, {signer: prefix(signer) for signer in self._signers})

    def section(self, signer: str) -> Table:
        """Return the section [layer4] of a signer."""
        table = self.server.section(BUCKET, prefix(signer), self._credentials(signer))
        return {**table, "customer_key_file": self.key.public_key}

    def download(self, folder: Path, signers: Sequence[str]) -> list[Path]:
        """Write the copies of some signers into a folder, as the customer would."""
        return [
            file
            for signer in signers
            for file in self.server.download(BUCKET, folder, prefix(signer))
        ]

    def _credentials(self, signer: str) -> Path:
        return self._folder / f"{signer}.credentials"


def prefix(signer: str) -> str:
    """Return the prefix below which a signer may put objects."""
    return f"{signer}/"
