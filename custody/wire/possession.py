"""The message that a new key signs before anybody relies on it: no transaction, no request."""

from uuid import UUID

from custody.wire.algorithms import Algorithm, Scheme
from custody.wire.framing import Domain, tagged_hash
from custody.wire.requests import SignHash, SignMessage


def possession_digest(key_id: UUID, ceremony: UUID | None = None) -> bytes:
    """Tagged hash of the key's id and, of an MPC key, the set of shares that signs."""
    made_by = b"" if ceremony is None else ceremony.bytes
    return tagged_hash(Domain.KEY_CHECK, key_id.bytes, made_by)


def possession_request(
    algorithm: Algorithm, key_id: UUID, ceremony: UUID | None = None
) -> tuple[SignHash | SignMessage, bytes | None]:
    """The same as a request, with its digest: None for Ed25519, which signs the 32 bytes."""
    challenge = possession_digest(key_id, ceremony)
    if algorithm.scheme is Scheme.EDDSA:
        return SignMessage(kind="Message", message="0x" + challenge.hex()), None
    return SignHash(kind="Hash", hash=challenge), challenge
