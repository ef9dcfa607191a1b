"""The message that a new key signs before anybody relies on it: no transaction, no request."""

import hashlib
from uuid import UUID

from wire.algorithms import Algorithm, Scheme
from wire.requests import SignHash, SignMessage

_DOMAIN = b"custody-key-check-v1\x00"


def possession_digest(key_id: UUID, ceremony: UUID | None = None) -> bytes:
    """SHA-256 of a fixed domain, the key's id and, of an MPC key, the set of shares that signs."""
    made_by = b"" if ceremony is None else ceremony.bytes
    return hashlib.sha256(_DOMAIN + key_id.bytes + made_by).digest()


def possession_request(
    algorithm: Algorithm, key_id: UUID, ceremony: UUID | None = None
) -> tuple[SignHash | SignMessage, bytes | None]:
    """The same as a request, with its digest: None for Ed25519, which signs the 32 bytes."""
    challenge = possession_digest(key_id, ceremony)
    if algorithm.scheme is Scheme.EDDSA:
        return SignMessage(kind="Message", message="0x" + challenge.hex()), None
    return SignHash(kind="Hash", hash=challenge), challenge
