"""Share copies of real keys, for tests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid5

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.algorithms import Network
from custody.wire.signed_bytes import SigningKey
from custody.wire.tickets import Protocol
from mpc import _native as native
from mpc.layer4.share_copy import make_share_copy
from mpc.shares.stored_share import ShareState, StoredShare

KEY_ID = UUID("6f0e6a3c-6f0b-4a55-9d7a-0d6f7f4c2b11")
SIGNERS = ("signer-1", "signer-2", "signer-3", "signer-4", "signer-5")
IDENTITIES = {
    name: SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))
    for number, name in enumerate(SIGNERS, 1)
}


def stored(
    share: native.Share,
    generation: int = 0,
    key_id: UUID = KEY_ID,
    network: Network | None = None,
    ceremony: UUID | None = None,
) -> StoredShare:
    """Return the row of an active share."""
    signers = SIGNERS[: share.signers]
    return StoredShare(
        key_id=key_id,
        ceremony=ceremony or uuid5(key_id, str(generation)),
        state=ShareState.ACTIVE,
        generation=generation,
        protocol=Protocol(share.protocol),
        group="mpc-2of3",
        threshold=share.threshold,
        signers=signers,
        index=share.index,
        network=network,
        public_key=share.public_key,
        chain_code=share.chain_code or None,
        transcript=share.transcript(),
        made_for=None,
        proved_with=signers,
        is_proved=True,
        encryption_key="0123456789abcdef",
        created_at=datetime(2026, 11, 27, tzinfo=UTC),
    )


def documents(
    shares: Mapping[int, native.Share],
    generation: int = 0,
    key_id: UUID = KEY_ID,
    network: Network | None = None,
    ceremony: UUID | None = None,
    identity: SigningKey | None = None,
) -> dict[int, bytes]:
    """Return the decrypted share copies of a set, by index. ``identity``: instead of IDENTITIES."""
    return {
        index: make_share_copy(
            stored(share, generation, key_id, network, ceremony),
            share,
            identity or IDENTITIES[SIGNERS[index - 1]],
        )
        for index, share in shares.items()
    }
