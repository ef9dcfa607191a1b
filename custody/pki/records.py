"""What an authority has issued and revoked: ``index.json`` in the authority's folder.

The file is replaced as a whole, so a crash leaves the old or the new one. Commands that change it
take ``index.lock`` first: a second command waits.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from custody.pki.description import describe
from custody.pki.reasons import Reason
from custody.runtime.configuration import replace_file
from custody.runtime.errors import OperatorError
from custody.runtime.revocation import RevokedSerial
from custody.wire.x509_loading import pem_certificate

INDEX = "index.json"
LOCK = "index.lock"
OLD_RECORDS = "issued"
"""Folder of certificates that earlier versions kept instead of the index."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Revocation(_Stored):
    """When a certificate was revoked, and why."""

    at: AwareDatetime
    reason: Reason


class Record(_Stored):
    """One issued certificate. ``serial``, ``sha256`` and ``key_sha256`` are hex.

    ``sha256`` is the certificate's fingerprint, ``key_sha256`` that of its public key. ``name`` is
    the node's id, the server's folder name or the authority's common name.
    """

    serial: str
    kind: Literal["intermediate", "node", "server"]
    name: str
    sha256: str
    key_sha256: str
    not_before: AwareDatetime
    not_after: AwareDatetime
    certificate: str
    revoked: Revocation | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        if self.revoked is not None:
            return "revoked"
        return "valid" if self.not_after > now else "expired"


class Index(_Stored):
    """Everything that the authority has issued, oldest first, and the number of its last CRL."""

    format: Literal[1] = 1
    crl_number: int = 0
    certificates: list[Record] = []

    def revoked(self) -> list[RevokedSerial]:
        """Return the entries of the next CRL."""
        return [
            RevokedSerial(int(each.serial, 16), each.revoked.at, each.revoked.reason.in_crl)
            for each in self.certificates
            if each.revoked is not None
        ]


class Records:
    """Reads and changes the index of the authority in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Index:
        """Return the index. Raise OperatorError if it is damaged."""
        path = self.folder / INDEX
        try:
            return Index.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return self._from_old_records()
        except (ValidationError, UnicodeDecodeError) as error:
            raise OperatorError(
                f"{path} is damaged: {str(error).splitlines()[0]}",
                "Restore it from the backup of this folder. Without it, nobody knows what is "
                "revoked.",
            ) from None

    @contextmanager
    def changing(self) -> Iterator[Index]:
        """Yield the index, and write it at the end of the block unless the block raised.

        One command at a time: another one waits.
        """
        with (self.folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            index = self.read()
            before = index.model_dump_json()
            yield index
            if index.model_dump_json() != before or not (self.folder / INDEX).exists():
                replace_file(self.folder / INDEX, index.model_dump_json(indent=1).encode())

    def _from_old_records(self) -> Index:
        files = sorted((self.folder / OLD_RECORDS).glob("*.pem"))
        found = [pem_certificate(file.read_bytes()) for file in files]
        found.sort(key=lambda each: each.not_valid_before_utc)
        return Index(certificates=[record_of(each) for each in found])


def record_of(certificate: x509.Certificate, name: str | None = None) -> Record:
    """Return the record of a certificate that has just been issued."""
    described = describe(certificate)
    kind = described.kind
    if kind not in ("intermediate", "node"):
        kind = "server"
    return Record(
        serial=described.serial,
        kind=kind,
        name=name or described.subject,
        sha256=described.sha256,
        key_sha256=key_fingerprint(certificate),
        not_before=described.not_before,
        not_after=described.not_after,
        certificate=certificate.public_bytes(Encoding.PEM).decode(),
    )


def key_fingerprint(
    owner: x509.Certificate | x509.CertificateSigningRequest | ec.EllipticCurvePrivateKey,
) -> str:
    """Return the SHA-256 of the public key (SubjectPublicKeyInfo), in hex."""
    hashing = Hash(SHA256())
    hashing.update(owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return hashing.finalize().hex()


def find(index: Index, words: str, now: datetime | None = None) -> list[Record]:
    """Return the records with this serial, or the valid ones with this name."""
    text = words.lower().removeprefix("0x").replace(":", "").lstrip("0")
    by_serial = [each for each in index.certificates if each.serial == text]
    if by_serial:
        return by_serial
    now = now or datetime.now(UTC)
    return [
        each for each in index.certificates if each.name == words and each.state(now) == "valid"
    ]
