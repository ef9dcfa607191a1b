"""The message that a new key signs before its use: not a transaction, not a request."""

from uuid import UUID

from custody.wire.algorithms import Algorithm, Scheme
from custody.wire.framing import Domain, tagged_hash
from custody.wire.requests import SignHash, SignMessage


def possession_digest(key_id: UUID, ceremony: UUID | None = None) -> bytes:
    """Return the tagged hash of the key's id and, for an MPC key, the set of shares."""
    made_by = b"" if ceremony is None else ceremony.bytes
    return tagged_hash(Domain.KEY_CHECK, key_id.bytes, made_by)


def possession_request(
    algorithm: Algorithm, key_id: UUID, ceremony: UUID | None = None
) -> tuple[SignHash | SignMessage, bytes | None]:
    """Return the message as a request, with its digest; the digest is None for Ed25519."""
    challenge = possession_digest(key_id, ceremony)
    if algorithm.scheme is Scheme.EDDSA:
        return SignMessage(kind="Message", message="0x" + challenge.hex()), None
    return SignHash(kind="Hash", hash=challenge), challenge
