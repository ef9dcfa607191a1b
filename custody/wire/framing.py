"""Joining of byte strings: each follows its length in four bytes, most significant first.

Every hash over several values and all associated data use this encoding. The lengths separate the
values, and the domain in front separates each construction from all others.
"""

import hashlib
import struct
from enum import StrEnum, unique

_LENGTH = struct.Struct(">I")


@unique
class Domain(StrEnum):
    """The purpose of a tagged byte string.

    docs/reference/wire-protocol/index.md lists the parts of each.
    """

    CHILD_KEY = "custody-child-key-v1"
    WALLET = "custody-wallet-v1"
    REQUEST = "custody-request-v1"
    BODY = "custody-body-v1"
    KEY_CHECK = "custody-key-check-v1"
    AUDIT = "custody-audit-v1"
    SESSION = "custody-ceremony-session-v1"
    ECHO = "custody-ceremony-echo-v1"
    SEAL = "custody-ceremony-seal-v1"
    TICKET_SEAL = "custody-ticket-seal-v1"
    IMPORT_SEAL = "custody-import-seal-v1"
    HAND_IN = "custody-hand-in-v1"
    SHARE = "custody-share-v1"
    IMPORT_KEY = "custody-import-key-v1"
    DATA_KEY = "custody-data-key-v1"
    HOST_KEY = "custody-host-key-v1"
    KEY_COPY = "custody-key-copy-v1"
    KEY_PROOF = "custody-key-proof-v1"
    BAN = "custody-ban-v1"
    TURN = "custody-turn-v1"
    MIGRATIONS = "custody-migrations-v1"


class Malformed(ValueError):
    """The bytes are not an output of ``join``."""


def join(*fields: bytes) -> bytes:
    """Join byte strings into one."""
    parts = []
    for field in fields:
        parts += [_LENGTH.pack(len(field)), field]
    return b"".join(parts)


def tagged(domain: Domain, *parts: bytes) -> bytes:
    """Join the domain and the parts. Different parts or domains give different bytes."""
    return join(domain.encode(), *parts)


def tagged_hash(domain: Domain, *parts: bytes) -> bytes:
    """Return SHA-256 of ``tagged``, as ``tagged_hash`` in mpc/native/src/protocol.rs does."""
    return hashlib.sha256(tagged(domain, *parts)).digest()


def split(data: bytes, most: int) -> list[bytes]:
    """Return the joined byte strings, at most ``most``. Raise Malformed."""
    fields: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + _LENGTH.size
        if start > len(data) or len(fields) == most:
            raise Malformed(f"more than {most} fields, or a cut length")
        (length,) = _LENGTH.unpack_from(data, position)
        position = start + length
        if position > len(data):
            raise Malformed("a field's length goes beyond the data")
        fields.append(data[start:position])
    return fields


def split_exactly(data: bytes, count: int) -> list[bytes]:
    """Return exactly ``count`` joined byte strings. Raise Malformed."""
    fields = split(data, count)
    if len(fields) != count:
        raise Malformed(f"{len(fields)} fields, not {count}")
    return fields
