"""The facts of a share that need no decryption."""

import struct
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from custody.node.stored_key import StoredKey
from custody.wire.algorithms import Network
from custody.wire.framing import Domain, join, tagged
from custody.wire.jobs import KeyHolders
from custody.wire.outcomes import SetOfShares
from custody.wire.statements import MadeFor
from custody.wire.tickets import ALGORITHM, Protocol

NUMBERS = struct.Struct("!HHQ?")
"""Threshold, index, generation, and whether Repair made the share."""


class ShareState(StrEnum):
    CONFIRMED = "confirmed"
    """On disk, and this signer has said so."""
    PROMISED = "promised"
    """Has signed, and is kept until t others have abandoned its set: this signer has said so."""
    ACTIVE = "active"
    """Signs."""
    REPAIRED = "repaired"
    """Made by Repair: goes into Refresh, and signs nothing."""
    RETIRED = "retired"
    """Another set is in its place; erased."""
    ERASED = "erased"
    """An operator has erased it; this signer gets no share of the key any more."""
    DISCARDED = "discarded"
    """t others have abandoned its set; erased."""
    ABANDONED = "abandoned"
    """This signer will never promise it, and has nothing of it."""


WAITING = frozenset({ShareState.CONFIRMED, ShareState.PROMISED})
KEPT = frozenset({*WAITING, ShareState.ACTIVE, ShareState.REPAIRED})
IN_USE = frozenset({ShareState.ACTIVE, ShareState.REPAIRED})


@dataclass(frozen=True)
class StoredShare:
    """A row of shares, without its secret. ``ceremony``: that made the set which it is of.

    ``public_key`` and ``chain_code`` are the root's; ``encryption_key`` is null once erased.
    ``made_for``: the key's first request; null where this signer does not know (after Repair).
    ``is_proved``: it has signed with every signer that it must sign with before it is used.
    ``is_uncertain``: it was restored, and t signers have not named its set as in use since.
    """

    key_id: UUID
    ceremony: UUID
    state: ShareState
    generation: int
    protocol: Protocol
    group: str
    threshold: int
    signers: tuple[str, ...]
    index: int
    network: Network | None
    public_key: bytes
    chain_code: bytes | None
    transcript: bytes
    made_for: MadeFor | None
    proved_with: tuple[str, ...]
    is_proved: bool
    encryption_key: str | None
    created_at: datetime
    is_uncertain: bool = False

    @property
    def holders(self) -> KeyHolders:
        """Return the group that holds its root key."""
        return KeyHolders(group=self.group, threshold=self.threshold, signers=self.signers)

    @property
    def key(self) -> StoredKey:
        """Return the facts of its root key, which are the same in each set of the key's shares."""
        return StoredKey(
            id=self.key_id,
            algorithm=ALGORITHM[self.protocol],
            network=self.network,
            public_key=self.public_key,
            chain_code=self.chain_code,
            holders=self.holders,
        )

    @property
    def associated_data(self) -> bytes:
        """Return the associated data of this row's ciphertext."""
        return associated_data(
            self.key,
            self.holders,
            protocol=self.protocol,
            ceremony=self.ceremony,
            generation=self.generation,
            index=self.index,
            transcript=self.transcript,
            is_repaired=self.is_repaired,
        )

    @property
    def set(self) -> SetOfShares:
        """Return its set of shares."""
        return SetOfShares(ceremony=self.ceremony, generation=self.generation)

    @property
    def is_confirmed(self) -> bool:
        """On disk, and not promised yet: it may still be abandoned."""
        return self.state is ShareState.CONFIRMED

    @property
    def is_promised(self) -> bool:
        """Kept for good, unless t others have abandoned its set."""
        return self.state is ShareState.PROMISED

    @property
    def is_waiting(self) -> bool:
        """Return whether its set is pending: neither activated nor abandoned."""
        return self.state in WAITING

    @property
    def is_active(self) -> bool:
        """Return whether the key signs with it at present."""
        return self.state is ShareState.ACTIVE and not self.is_uncertain

    @property
    def is_repaired(self) -> bool:
        """Return whether it goes only into Refresh, and signs nothing."""
        return self.state is ShareState.REPAIRED and not self.is_uncertain

    @property
    def was_kept(self) -> bool:
        """Return whether it was promised and later erased."""
        return self.state in (ShareState.RETIRED, ShareState.DISCARDED, ShareState.ERASED)

    @property
    def is_erased_by_operator(self) -> bool:
        """Return whether an operator has erased the key's shares here."""
        return self.state is ShareState.ERASED

    @property
    def is_in_use(self) -> bool:
        """Return whether it is of the set in use: active, or repaired and so only for Refresh."""
        return self.state in IN_USE

    @property
    def is_imported(self) -> bool:
        """Return whether the private key came from an application; False if it is not known."""
        return self.made_for is not None and self.made_for.imported

    @property
    def was_dealt(self) -> bool:
        """Return whether the key was made with an import key: it was imported, or is a copy."""
        is_copy = self.made_for is not None and self.made_for.copied_from is not None
        return self.is_imported or is_copy

    @property
    def unproved_with(self) -> tuple[str, ...]:
        """Return the other signers that it has not signed with yet."""
        signed = {*self.proved_with, self.signers[self.index - 1]}
        return tuple(name for name in self.signers if name not in signed)

    @property
    def is_kept(self) -> bool:
        """There is something to open."""
        return self.state in KEPT


def associated_data(
    key: StoredKey,
    holders: KeyHolders,
    *,
    protocol: Protocol,
    ceremony: UUID,
    generation: int,
    index: int,
    transcript: bytes,
    is_repaired: bool,
) -> bytes:
    """Return what binds a ciphertext to every fact of its row that never changes.

    A share does not decrypt in another row, nor in its own row with another network, group,
    threshold or order of signers, even if the database was written by somebody else.
    """
    return tagged(
        Domain.SHARE,
        key.id.bytes,
        (key.network or "").encode(),
        key.public_key,
        key.chain_code or b"",
        holders.group.encode(),
        join(*(name.encode() for name in holders.signers)),
        protocol.encode(),
        ceremony.bytes,
        NUMBERS.pack(holders.threshold, index, generation, is_repaired),
        transcript,
    )
