"""A signer's statements of its shares; a new share is confirmed when it is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from custody.node.errors import Denied, Failed
from custody.node.handlers import Handled
from custody.node.stored_key import StoredKey
from custody.wire.algorithms import Network
from custody.wire.jobs import Job
from custody.wire.outcomes import PreparedShare
from custody.wire.signed_bytes import CONFIRMATION_TYPE, PROMISE_TYPE, SignedBytes, SigningKey
from custody.wire.statements import Confirmation, MadeFor, Promise, ShareStatement
from custody.wire.tickets import NEW_KEY, Ticket
from mpc._native import Share
from mpc.shares.shares import Shares
from mpc.shares.stored_share import ShareState, StoredShare

if TYPE_CHECKING:
    from mpc.layer4.copies import ShareCopies


class Preparation:
    """``copies``: None while Layer 4 is off."""

    def __init__(
        self, me: str, signer: SigningKey, shares: Shares, copies: ShareCopies | None = None
    ) -> None:
        self._me = me
        self._signer = signer
        self._shares = shares
        self._copies = copies

    async def require_room(self, ticket: Ticket) -> None:
        """Raise Failed or Denied, before a ceremony, where its share could not be put on disk."""
        waiting = await self._shares.waiting(ticket.key_id)
        if waiting is not None:
            raise Failed(
                "set_pending",
                f"this key already has a pending share set, of generation {waiting.generation}: "
                f"{waiting.ceremony} is {waiting.state.value}",
                transient=True,
                shares=waiting.set,
            )
        if ticket.kind in NEW_KEY and await self._shares.known(ticket.key_id):
            raise Denied("key_exists", "the key was in use here, and is not made again")

    async def prepare(
        self,
        job: Job,
        ticket: Ticket,
        share: Share,
        made_for: MadeFor | None,
        known: StoredKey | None = None,
    ) -> Handled:
        """Return the outcome of the ceremony that made a share.

        ``made_for``: the key's first request, which all later sets of its shares keep.
        ``known``: the key that it must be a share of, where the key is not new. Raises Failed for
        a share of another key, or of the same key with another chain code, so other children.
        """
        made = share.public_key, share.chain_code or None
        if known is not None and made != (known.public_key, known.chain_code):
            raise Failed("wrong_share", "the ceremony ended with a share of another key")
        confirmation = Confirmation(
            key_id=ticket.key_id,
            ceremony=ticket.ceremony,
            generation=ticket.generation,
            protocol=ticket.protocol,
            group=ticket.group,
            threshold=ticket.threshold,
            signers=ticket.signers,
            public_key=share.public_key,
            chain_code=share.chain_code or None,
            transcript=share.transcript(),
            made_for=made_for,
            signer=self._me,
            index=share.index,
        )
        audit: dict[str, str | None] = {
            "public_key": share.public_key.hex(),
            "group": ticket.group,
            "generation": str(ticket.generation),
            "ceremony": str(ticket.ceremony),
        }
        rows = [await self._shares.prepare_row(confirmation, job.key.network, share)]
        if self._copies is not None:  # in the transaction of the share: none is without its copy
            stored = _stored(confirmation, job.key.network)
            copy = await self._copies.row(stored, share)
            rows.append(copy)
            audit["share_copy"] = copy.values["name"]
        return Handled(
            result=PreparedShare(confirmation=self._sign(CONFIRMATION_TYPE, confirmation)),
            audit=audit,
            rows=rows,
        )

    def promise(self, stored: StoredShare) -> Promise:
        """Return this signer's statement of a share that it keeps, the same each time."""
        return Promise(
            key_id=stored.key_id,
            ceremony=stored.ceremony,
            generation=stored.generation,
            protocol=stored.protocol,
            group=stored.group,
            threshold=stored.threshold,
            signers=list(stored.signers),
            public_key=stored.public_key,
            chain_code=stored.chain_code,
            transcript=stored.transcript,
            made_for=stored.made_for,
            signer=self._me,
            index=stored.index,
        )

    def sign(self, promise: Promise) -> SignedBytes:
        return self._sign(PROMISE_TYPE, promise)

    def _sign(self, payload_type: str, said: ShareStatement) -> SignedBytes:
        return self._signer.sign(payload_type, said.model_dump_json().encode())


def _stored(confirmation: Confirmation, network: Network | None) -> StoredShare:
    """Return the facts that the row of a confirmed share will have."""
    return StoredShare(
        key_id=confirmation.key_id,
        ceremony=confirmation.ceremony,
        state=ShareState.CONFIRMED,
        generation=confirmation.generation,
        protocol=confirmation.protocol,
        group=confirmation.group,
        threshold=confirmation.threshold,
        signers=tuple(confirmation.signers),
        index=confirmation.index,
        network=network,
        public_key=confirmation.public_key,
        chain_code=confirmation.chain_code,
        transcript=confirmation.transcript,
        made_for=confirmation.made_for,
        proved_with=(),
        is_proved=False,
        encryption_key=None,
        created_at=datetime.now(UTC),
    )
