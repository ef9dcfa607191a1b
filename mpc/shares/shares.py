"""Shares at rest: AES-256-GCM under a data key of each, which the encryption key wraps."""

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from custody.database.pool import Pool
from custody.node.database_away import database_needed
from custody.node.errors import Failed
from custody.node.handlers import RowChange
from custody.node.stored_key import StoredKey, require_same_key
from custody.runtime.cache import Cache
from custody.wire.algorithms import Network
from custody.wire.jobs import Job, KeyHolders
from custody.wire.statements import Confirmation, MadeFor
from custody.wire.tickets import ALGORITHM, Protocol, Ticket
from mpc._native import LocalMisuse, Share
from mpc.metrics import UNUSABLE_SHARES
from mpc.shares import share_queries
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.stored_share import ShareState, StoredShare, associated_data

MAX_LOADED = 64
"""Shares kept open; one of 3-of-5 has 210 kB."""
DATA_KEY_SIZE = 32
NONCE_SIZE = 12

Place = tuple[UUID, UUID]
"""Key id and ceremony."""


class _Opening(NamedTuple):
    """A share that is open, or about to be, and the facts of the row that it was opened for."""

    bound: bytes
    share: asyncio.Task[Share]


class Shares:
    """Finds, opens and changes shares. What cannot be had is Failed."""

    def __init__(self, pool: Pool, keys: EncryptionKeys) -> None:
        self._pool = pool
        self._keys = keys
        self._open = Cache[Place, _Opening](MAX_LOADED)
        self._unusable: set[Place] = set()

    def problem(self) -> str | None:
        """Return how many shares failed to open at their last use; None for none."""
        UNUSABLE_SHARES.set(len(self._unusable))
        if not self._unusable:
            return None
        return f"{len(self._unusable)} cannot be used; see mpc-signer shares verify"

    async def find(self, key_id: UUID, ceremony: UUID) -> StoredShare | None:
        """Return the share of a set in any state; None if this signer never made one."""
        return await self._one(share_queries.FIND, {"key_id": key_id, "ceremony": ceremony})

    async def active(self, key_id: UUID) -> StoredShare | None:
        """Return the active share of a root key; it may be uncertain. None if there is none."""
        stored = await self._one(share_queries.ACTIVE, {"key_id": key_id})
        if stored is None:
            self.close(key_id)  # another process may have erased it
        else:
            self._close_older(stored)
        return stored

    async def known(self, key_id: UUID) -> StoredShare | None:
        """Return the newest share of a key that was ever in use here, even if it is erased.

        It says for good which key has this id.
        """
        return await self._one(share_queries.KNOWN, {"key_id": key_id})

    async def require_key(self, job: Job) -> None:
        """Raise Failed if this signer knows the job's key as another one.

        A signer that has lost its share has nothing to compare the key with, and may still archive.
        """
        stored = await self.known(job.key.root or job.key.id)
        if stored is not None:
            require_same_key(stored.key, job)

    async def waiting(self, key_id: UUID) -> StoredShare | None:
        """Return the key's pending share. It blocks every other one."""
        return await self._one(share_queries.WAITING, {"key_id": key_id})

    async def remembers(self, key_id: UUID, ceremony: UUID, since: datetime) -> bool:
        """Return whether this signer knows a set, or has used the set's ticket ``since``."""
        values = {"key_id": key_id, "ceremony": ceremony, "since": since}
        [row] = await self._rows(share_queries.REMEMBERS, values)
        return bool(row.is_known)

    async def open(self, stored: StoredShare) -> Share:
        """Return the share itself, checked when it is loaded, and kept open for the next time."""
        place = (stored.key_id, stored.ceremony)
        bound = stored.associated_data
        opening = self._open.get(place)
        if opening is None or opening.bound != bound:  # the row may have been changed since
            opening = _Opening(bound, asyncio.create_task(self._load(stored)))
            opening.share.add_done_callback(lambda done: self._opened(place, done))
            self._open.put(place, opening)
        return await asyncio.shield(opening.share)

    def close(self, key_id: UUID) -> None:
        """Keep no share of a key open."""
        for place in self._open:
            if place[0] == key_id:
                self._open.pop(place)
        self._unusable = {place for place in self._unusable if place[0] != key_id}

    async def prepare_row(
        self, confirmation: Confirmation, network: Network | None, share: Share
    ) -> RowChange:
        """Store a new share: durable and confirmed at once.

        It is refused while another one of the key waits, for a set that was abandoned here,
        and where the key id is that of another key, which was in use already.
        """
        values = {
            "key_id": confirmation.key_id,
            "ceremony": confirmation.ceremony,
            "state": ShareState.CONFIRMED.value,
            "generation": confirmation.generation,
            "protocol": confirmation.protocol.value,
            "group_name": confirmation.group,
            "threshold": confirmation.threshold,
            "signers": ",".join(confirmation.signers),
            "share_index": confirmation.index,
            "network": network.value if network else None,
            "made_for": _text(confirmation.made_for),
        }
        return RowChange(share_queries.INSERT, values | await self._sealed(values, share))

    async def repaired_row(
        self, ticket: Ticket, network: Network | None, share: Share
    ) -> RowChange:
        """Return the row of a repaired share. A repaired share signs nothing: Refresh uses it.

        The row replaces the share that this signer has of the set, or of an earlier set.
        """
        values = {
            "key_id": ticket.key_id,
            "ceremony": ticket.share_set_id,
            "state": ShareState.REPAIRED.value,
            "generation": ticket.generation,
            "protocol": ticket.protocol.value,
            "group_name": ticket.group,
            "threshold": ticket.threshold,
            "signers": ",".join(ticket.signers),
            "share_index": share.index,
            "network": network.value if network else None,
            "made_for": None,
        }
        return RowChange(
            share_queries.REPAIR,
            values | await self._sealed(values, share),
            after=partial(self.close, ticket.key_id),
        )

    async def restored_row(self, stored: StoredShare, share: Share) -> RowChange:
        """Return the row of an active, uncertain share that a share copy has kept."""
        values = {
            "key_id": stored.key_id,
            "ceremony": stored.ceremony,
            "state": ShareState.ACTIVE.value,
            "generation": stored.generation,
            "protocol": stored.protocol.value,
            "group_name": stored.group,
            "threshold": stored.threshold,
            "signers": ",".join(stored.signers),
            "share_index": stored.index,
            "network": stored.network.value if stored.network else None,
            "made_for": _text(stored.made_for),
        }
        return RowChange(share_queries.RESTORE, values | await self._sealed(values, share))

    def proved_row(self, stored: StoredShare, others: Sequence[str]) -> RowChange:
        """Note that it signed with ``others``; in DKLs23 it can be promised after all others."""
        return RowChange(share_queries.PROVE, {**_place(stored), "others": ",".join(others)})

    def promise_row(self, stored: StoredShare) -> RowChange:
        """Keep it. Refused until it is proved, and once it is abandoned."""
        return RowChange(share_queries.PROMISE, _place(stored))

    def activate_row(self, stored: StoredShare, made_for: MadeFor | None = None) -> RowChange:
        """From now on it signs, and the one before it is erased.

        ``made_for`` is kept where the share does not have it: it came from Repair.
        """
        values = {**_place(stored), "made_for": _text(made_for)}
        return RowChange(share_queries.ACTIVATE, values, after=partial(self.close, stored.key_id))

    def discard_row(self, stored: StoredShare) -> RowChange:
        """Erase a share that was promised, and was never in use."""
        return RowChange(
            share_queries.DISCARD, _place(stored), after=partial(self.close, stored.key_id)
        )

    def abandon_row(self, key_id: UUID, ceremony: UUID) -> RowChange:
        """Erase what there is of this set, and never promise it. Refused once it was promised."""
        values = {"key_id": key_id, "ceremony": ceremony}
        return RowChange(share_queries.ABANDON, values, after=partial(self.close, key_id))

    async def _one(self, sql: str, parameters: dict[str, Any]) -> StoredShare | None:
        rows = await self._rows(sql, parameters)
        return stored_share(rows[0]) if rows else None

    async def _rows(self, sql: str, parameters: dict[str, Any]) -> list[Any]:
        with database_needed():
            return await self._pool.rows(sql, parameters)

    async def _sealed(self, facts: dict[str, Any], share: Share) -> dict[str, Any]:
        """Return the values of the share itself."""
        protocol = Protocol(facts["protocol"])
        holders = KeyHolders(
            group=facts["group_name"],
            threshold=facts["threshold"],
            signers=tuple(facts["signers"].split(",")),
        )
        bound = associated_data(
            StoredKey(
                id=facts["key_id"],
                algorithm=ALGORITHM[protocol],
                network=Network(facts["network"]) if facts["network"] else None,
                public_key=share.public_key,
                chain_code=share.chain_code or None,
                holders=holders,
            ),
            holders,
            protocol=protocol,
            ceremony=facts["ceremony"],
            generation=facts["generation"],
            index=facts["share_index"],
            transcript=share.transcript(),
            is_repaired=facts["state"] == ShareState.REPAIRED.value,
        )
        data_key, nonce = os.urandom(DATA_KEY_SIZE), os.urandom(NONCE_SIZE)
        sealed = await asyncio.to_thread(
            lambda: AESGCM(data_key).encrypt(nonce, share.to_bytes(), bound)
        )
        key = self._keys.current
        return {
            "public_key": share.public_key,
            "chain_code": share.chain_code or None,
            "transcript": share.transcript(),
            "data_key": await key.wrap(data_key),
            "ciphertext": nonce + sealed,
            "encryption_key": key.id,
        }

    async def _load(self, stored: StoredShare) -> Share:
        rows = await self._rows(share_queries.SECRETS, _place(stored))
        if not rows:
            raise Failed("no_share", "the share is erased", transient=True)
        row = rows[0]
        data_key = await self._keys.get(row.encryption_key).unwrap(row.data_key)
        return await asyncio.to_thread(_opened, stored, data_key, row.ciphertext)

    def _opened(self, place: Place, done: asyncio.Task[Share]) -> None:
        """Forget a share that did not open, so that the next use tries again."""
        error = None if done.cancelled() else done.exception()
        current = self._open.get(place)
        if (done.cancelled() or error) and current is not None and current.share is done:
            self._open.pop(place)
        if isinstance(error, Failed) and error.code == "share_unusable":
            self._unusable.add(place)
        elif not done.cancelled() and error is None:
            self._unusable.discard(place)

    def _close_older(self, active: StoredShare) -> None:
        for place in self._open:
            if place[0] == active.key_id and place[1] != active.ceremony:
                self._open.pop(place)


def _text(made_for: MadeFor | None) -> str | None:
    return None if made_for is None else made_for.model_dump_json()


def stored_share(row: Any) -> StoredShare:
    """Return a share from a row that FACTS selects. Raise Failed for a damaged row."""
    try:
        return _stored_share(row)
    except (ValueError, TypeError) as error:
        raise _unusable(f"the row of the share is damaged: {error}") from None


def _stored_share(row: Any) -> StoredShare:
    holders = KeyHolders(group=row.group_name, threshold=row.threshold, signers=tuple(row.signers))
    return StoredShare(
        key_id=row.key_id,
        ceremony=row.ceremony,
        state=ShareState(row.state),
        generation=row.generation,
        protocol=Protocol(row.protocol),
        group=holders.group,
        threshold=holders.threshold,
        signers=holders.signers,
        index=row.share_index,
        network=Network(row.network) if row.network else None,
        public_key=row.public_key,
        chain_code=row.chain_code,
        transcript=row.transcript,
        made_for=None if row.made_for is None else MadeFor.model_validate_json(row.made_for),
        proved_with=tuple(row.proved_with),
        is_proved=row.proved,
        encryption_key=row.encryption_key,
        created_at=row.created_at,
        is_uncertain=row.uncertain,
    )


def _opened(stored: StoredShare, data_key: bytes, ciphertext: bytes) -> Share:
    """Decrypt and load. Raises Failed when the share is damaged, swapped, or of another key."""
    nonce, sealed = ciphertext[:NONCE_SIZE], ciphertext[NONCE_SIZE:]
    try:
        data = AESGCM(data_key).decrypt(nonce, sealed, stored.associated_data)
        share = Share.load(data)
    except (InvalidTag, ValueError):  # ValueError: it is even too short
        raise _unusable(
            "the stored share is damaged or another row's, or its row was changed (network, public "
            "key, chain code, group, threshold, signers or another fact): restore this signer's "
            "database, or repair the share"
        ) from None
    except LocalMisuse as error:
        raise _unusable(f"the stored share is not whole: {error}") from None
    for name, found, wanted in (
        ("protocol", share.protocol, stored.protocol.value),
        ("public key", share.public_key, stored.public_key),
        ("chain code", share.chain_code or None, stored.chain_code),
        ("index", share.index, stored.index),
        ("threshold", share.threshold, stored.threshold),
        ("number of signers", share.signers, len(stored.signers)),
        ("transcript", share.transcript(), stored.transcript),
        ("kind", share.is_repaired, stored.state is ShareState.REPAIRED),
    ):
        if found != wanted:
            raise _unusable(f"the stored share has another {name} than its row")
    return share


def _place(stored: StoredShare) -> dict[str, Any]:
    return {"key_id": stored.key_id, "ceremony": stored.ceremony}


def _unusable(reason: str) -> Failed:
    """Other signers can sign without this one, so that it is worth another attempt."""
    return Failed("share_unusable", reason, transient=True)
