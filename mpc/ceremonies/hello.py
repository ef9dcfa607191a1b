"""A hello: what each participant of a ceremony says first.

It is signed by the identity key. Its public part makes known the key to which the others seal what
follows; the delivery server can read that part. The private part is sealed for the participants
(ticket_seal.py): nonce commitments would show which signature on a chain this ceremony made, and a
ban names the key. The form is versioned bytes, not JSON:

    version | meeting | ticket digest | sender's index | KEM key | contribution | sealed part

and inside the sealed part:

    opening | bans | padding
"""

from dataclasses import dataclass
from uuid import UUID

from custody.wire.framing import Malformed, join, split, split_exactly
from custody.wire.hybrid_keys import PUBLIC_KEY_BYTES
from custody.wire.signed_bytes import SignedBytes

VERSION = b"\x01"
DIGEST_BYTES = 32
CONTRIBUTION_BYTES = 32
MAX_OPENING = 4 * 1024
MAX_BANS = 256
"""As many as 16 signers can have of each other: 240."""
MAX_BAN = 2 * 1024
MAX_HELLO = 512 * 1024
PADDED_TO = 2 * 1024
"""The sealed part's size is a multiple of this: four bans and a commitment look like nothing."""


@dataclass(frozen=True)
class Opened:
    """The private part of a hello: the protocol's opening, and the sender's statements of bans.

    ``opening``: the protocol's first broadcast, where it needs no session id. ``bans``: as the
    sender sent them; their own signatures are still to be verified.
    """

    opening: bytes
    bans: tuple[SignedBytes, ...]

    def to_bytes(self) -> bytes:
        """Return the bytes. Raise ValueError if the opening or the bans exceed a hello's size."""
        bans = [join(ban.payload, ban.signature, ban.signing_key_id.encode()) for ban in self.bans]
        if len(self.opening) > MAX_OPENING or len(bans) > MAX_BANS:
            raise ValueError("more than a hello holds")
        if any(len(ban) > MAX_BAN for ban in bans):
            raise ValueError("a ban that is larger than a hello holds")
        content = join(self.opening, join(*bans), b"")
        return join(self.opening, join(*bans), bytes(-len(content) % PADDED_TO))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Opened":
        """Parse what ``to_bytes`` makes. Raise ValueError for anything else."""
        opening, bans, _ = split_exactly(data, 3)
        if len(opening) > MAX_OPENING:
            raise Malformed("an opening that is too large")
        return cls(opening, tuple(_ban(ban) for ban in split(bans, MAX_BANS)))


@dataclass(frozen=True)
class Hello:
    """``contribution``: random bytes that go into the session id. ``sealed``: an Opened, sealed."""

    meeting: UUID
    ticket_digest: bytes
    index: int
    kem_public_key: bytes
    contribution: bytes
    sealed: bytes

    def to_bytes(self) -> bytes:
        return join(
            VERSION,
            self.meeting.bytes,
            self.ticket_digest,
            bytes([self.index]),
            self.kem_public_key,
            self.contribution,
            self.sealed,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Hello":
        """Parse what ``to_bytes`` makes. Raise ValueError for anything else."""
        version, *fields = split_exactly(data, 7)
        if version != VERSION:
            raise Malformed("another version")
        meeting, digest, index, kem_public_key, contribution, sealed = fields
        for field, size in (
            (meeting, 16),
            (digest, DIGEST_BYTES),
            (index, 1),
            (kem_public_key, PUBLIC_KEY_BYTES),
            (contribution, CONTRIBUTION_BYTES),
        ):
            if len(field) != size:
                raise Malformed(f"a field of {len(field)} bytes, not {size}")
        return cls(
            meeting=UUID(bytes=meeting),
            ticket_digest=digest,
            index=index[0],
            kem_public_key=kem_public_key,
            contribution=contribution,
            sealed=sealed,
        )


def _ban(data: bytes) -> SignedBytes:
    if len(data) > MAX_BAN:
        raise Malformed("a ban that is too large")
    payload, signature, key_id = split_exactly(data, 3)
    return SignedBytes(payload=payload, signature=signature, signing_key_id=key_id.decode("ascii"))
