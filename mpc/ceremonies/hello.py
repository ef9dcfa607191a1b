"""A hello: what each participant of a ceremony says first.

Nothing in it is secret: signed by the identity key, it makes known the key to which the others
seal what is. The form is versioned bytes, no JSON:

    version | ceremony | ticket digest | sender's index | KEM key | contribution | opening | bans
"""

from dataclasses import dataclass
from uuid import UUID

from mpc.ceremonies.ceremony_keys import PUBLIC_KEY_BYTES
from wire.envelope import SignedBytes
from wire.framing import Malformed, join, split, split_exactly

VERSION = b"\x01"
DIGEST_BYTES = 32
CONTRIBUTION_BYTES = 32
MAX_OPENING = 4 * 1024
MAX_BANS = 256
"""As many as 16 signers can have of each other: 240."""
MAX_BAN = 2 * 1024
MAX_HELLO = 512 * 1024


@dataclass(frozen=True)
class Hello:
    """``contribution``: random bytes that go into the session id.

    ``opening``: the protocol's first broadcast, where it is public. ``bans``: the sender's
    statements about the key, as they were signed.
    """

    ceremony: UUID
    ticket_digest: bytes
    index: int
    kem_public_key: bytes
    contribution: bytes
    opening: bytes
    bans: tuple[SignedBytes, ...]

    def to_bytes(self) -> bytes:
        """Raises ValueError when the opening or the bans are more than a hello holds."""
        bans = [join(ban.payload, ban.signature, ban.signing_key_id.encode()) for ban in self.bans]
        if len(self.opening) > MAX_OPENING or len(bans) > MAX_BANS:
            raise ValueError("more than a hello holds")
        if any(len(ban) > MAX_BAN for ban in bans):
            raise ValueError("a ban that is larger than a hello holds")
        return join(
            VERSION,
            self.ceremony.bytes,
            self.ticket_digest,
            bytes([self.index]),
            self.kem_public_key,
            self.contribution,
            self.opening,
            join(*bans),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Hello":
        """Raises ValueError for anything but what ``to_bytes`` makes."""
        version, *fields = split_exactly(data, 8)
        if version != VERSION:
            raise Malformed("another version")
        ceremony, digest, index, kem_public_key, contribution, opening, bans = fields
        for field, size in (
            (ceremony, 16),
            (digest, DIGEST_BYTES),
            (index, 1),
            (kem_public_key, PUBLIC_KEY_BYTES),
            (contribution, CONTRIBUTION_BYTES),
        ):
            if len(field) != size:
                raise Malformed(f"a field of {len(field)} bytes, not {size}")
        if len(opening) > MAX_OPENING:
            raise Malformed("an opening that is too large")
        return cls(
            ceremony=UUID(bytes=ceremony),
            ticket_digest=digest,
            index=index[0],
            kem_public_key=kem_public_key,
            contribution=contribution,
            opening=opening,
            bans=tuple(_ban(ban) for ban in split(bans, MAX_BANS)),
        )


def _ban(data: bytes) -> SignedBytes:
    if len(data) > MAX_BAN:
        raise Malformed("a ban that is too large")
    payload, signature, key_id = split_exactly(data, 3)
    return SignedBytes(payload=payload, signature=signature, signing_key_id=key_id.decode("ascii"))
