"""The audit chain's form: each record's hash covers the one before it; the head is signed."""

from typing import Annotated

from pydantic import Field

from wire.encoding import HexBytes, Model
from wire.framing import Domain, tagged_hash

GENESIS = bytes(32)
"""The hash before the first record."""


def chain_hash(previous: bytes, record: bytes) -> bytes:
    """Tagged hash of the previous record's hash (32 bytes) and this record's bytes."""
    return tagged_hash(Domain.AUDIT, previous, record)


class AuditHead(Model):
    """The last record of a node's chain: ``sequence`` counts from 1; 0 is the empty chain."""

    node: str
    sequence: Annotated[int, Field(ge=0, lt=2**63)]
    hash: Annotated[HexBytes, Field(min_length=32, max_length=32)]
