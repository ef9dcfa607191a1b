"""Lets a job into a ceremony: its ticket, against the peers that are pinned at this moment."""

import asyncio
from datetime import UTC, datetime

from custody.node.errors import Refused
from custody.node.handlers import Work
from custody.wire.signed_bytes import SignedBytes
from custody.wire.tickets import Ticket
from mpc.bans.bans import Bans
from mpc.ceremonies.ceremony import Admitted, can_ban
from mpc.ceremonies.tickets import Quorum, require_ticket
from mpc.peers import Peers
from mpc.restored.watch import RestoreWatch


class Admission:
    """``identity``: this signer's own Ed25519 public key."""

    def __init__(
        self,
        me: str,
        identity: bytes,
        peers: Peers,
        bans: Bans,
        restore_watch: RestoreWatch,
        min_threshold: int,
    ) -> None:
        self._me = me
        self._identity = identity
        self._peers = peers
        self._bans = bans
        self._restore_watch = restore_watch
        self._min_threshold = min_threshold

    async def quorum(self) -> Quorum:
        """Return the peers that this signer works with, and its lowest threshold."""
        identities = {**await self._peers.identities(), self._me: self._identity}
        return Quorum(self._me, identities, self._min_threshold)

    async def admit(self, work: Work) -> Admitted:
        """Admit a ticket. Raise Refused, Denied or Failed."""
        quorum, bans = await asyncio.gather(self.quorum(), self._known_bans(work.ticket))
        ticket = require_ticket(work, quorum, datetime.now(UTC), self._restore_watch.tickets_from)
        if work.signed_ticket is None or work.signed_delivery_ticket is None:
            raise Refused("bad_ticket", f"a {work.job.kind} job needs a ticket")
        # of the job by either clock: from then on no message leaves, and so no signature
        deadline = min(ticket.expires_at, work.job.expires_at, work.not_after)
        return Admitted(
            ticket,
            work.signed_ticket,
            work.signed_delivery_ticket,
            quorum,
            deadline,
            bans,
            work.require_unarchived,
        )

    async def _known_bans(self, ticket: Ticket | None) -> list[SignedBytes]:
        if ticket is None or not can_ban(ticket):
            return []
        return await self._bans.statements(ticket.key_id)
