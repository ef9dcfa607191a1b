"""The form of the audit chain: each record's hash covers the previous hash; the head is signed."""

from typing import Annotated

from pydantic import AwareDatetime, Field, WithJsonSchema

from custody.wire.encoding import HexBytes, Model
from custody.wire.framing import Domain, tagged_hash
from custody.wire.signed_bytes import SignedBytes

GENESIS = bytes(32)
"""The hash before the first record."""


def chain_hash(previous: bytes, record: bytes) -> bytes:
    """Return the tagged hash of the previous record's hash (32 bytes) and this record's bytes."""
    return tagged_hash(Domain.AUDIT, previous, record)


class AuditHead(Model):
    """The last record of a node's chain: ``sequence`` counts from 1; 0 is the empty chain."""

    node: str
    sequence: Annotated[int, Field(ge=0, lt=2**63)]
    hash: Annotated[HexBytes, Field(min_length=32, max_length=32)]


PlaceHash = Annotated[
    HexBytes,
    Field(min_length=32, max_length=32),
    WithJsonSchema({"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"}),
]


class AuditPlace(Model):
    """A place in a node's chain: after record ``sequence``, whose hash is ``hash``.

    Sequence 0 with GENESIS is the place before the first record.
    """

    sequence: Annotated[int, Field(ge=0, lt=2**63)]
    hash: PlaceHash


BEGIN = AuditPlace(sequence=0, hash=GENESIS)


class Checkpoint(Model):
    """The records up to ``sequence`` were exported and verified; most of them are deleted.

    ``hash`` and ``at``: of the record of this number. ``kept``: how many records up to it stay, and
    ``kept_digest``: the digest of them.
    """

    node: str
    sequence: Annotated[int, Field(ge=1, lt=2**63)]
    hash: Annotated[HexBytes, Field(min_length=32, max_length=32)]
    at: AwareDatetime
    kept: Annotated[int, Field(ge=0)]
    kept_digest: Annotated[HexBytes, Field(min_length=32, max_length=32)]

    @property
    def place(self) -> AuditPlace:
        """Return the place after the last record that the checkpoint covers."""
        return AuditPlace(sequence=self.sequence, hash=self.hash)


class Restored(Model):
    """A node's statement that its database was restored, and which records were lost.

    The chain has lost the records after ``agreed``, up to ``kept``. The node has signed both heads:
    it cannot name a head that it never reported, nor deny a head later.
    """

    node: str
    agreed: AuditHead
    """The last head kept elsewhere that the chain still contains; sequence 0 if there is none."""
    kept: SignedBytes
    """The last head kept elsewhere that the chain has lost."""
    own: SignedBytes
    """The chain's head just before the record of this statement."""
    operator: Annotated[str, Field(max_length=200)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    at: AwareDatetime
