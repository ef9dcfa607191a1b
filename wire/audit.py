"""The audit chain's form: each record's hash covers the one before it; the head is signed."""

import hashlib
from typing import Annotated

from pydantic import Field

from wire.encoding import HexBytes, Model

GENESIS = bytes(32)
"""The hash before the first record."""

_DOMAIN = b"custody-audit-v1\x00"


def chain_hash(previous: bytes, record: bytes) -> bytes:
    """SHA-256 over domain, the previous record's hash (32 bytes) and this record's bytes."""
    return hashlib.sha256(_DOMAIN + previous + record).digest()


class AuditHead(Model):
    """The last record of a node's chain: ``sequence`` counts from 1; 0 is the empty chain."""

    node: str
    sequence: Annotated[int, Field(ge=0, lt=2**63)]
    hash: Annotated[HexBytes, Field(min_length=32, max_length=32)]
