"""Jobs of kind RefreshKey and RepairShare: new shares of a key that stays."""

from dataclasses import dataclass
from typing import ClassVar

from custody.node.errors import Denied, Failed
from custody.node.handlers import Handled, Work
from custody.node.signed_requests import read_request
from custody.node.stored_key import require_same_key
from custody.wire import requests
from custody.wire.jobs import Endpoint, Job
from custody.wire.outcomes import NothingMade
from custody.wire.tickets import CeremonyKind, Ticket
from mpc._native import Refresh, Repair, Share
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.ceremony import Admitted, Ceremonies
from mpc.ceremonies.tickets import index_of
from mpc.handlers.certainty import require_certain
from mpc.handlers.preparation import Preparation
from mpc.handlers.signing import audit_details, require_share_of, wrong_generation
from mpc.repair_approvals import RepairApprovals, how_to_approve
from mpc.restored.watch import RestoreWatch
from mpc.shares.shares import Shares
from mpc.shares.stored_share import StoredShare


@dataclass(frozen=True)
class RefreshKey:
    """The complete refresh by all n: the next generation, up to a confirmed share."""

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True
    admission: Admission
    ceremonies: Ceremonies
    shares: Shares
    preparation: Preparation

    async def handle(self, work: Work) -> Handled:
        _require_request(work.job)
        admitted = await self.admission.admit(work)
        ticket = admitted.ticket
        stored = await _share_of(self.shares, ticket)
        require_same_key(stored.key, work.job, ticket)
        require_share_of(stored, admitted, ticket.generation - 1)
        await self.preparation.require_room(ticket)
        share = await self.shares.open(stored)
        session = await self.ceremonies.hold(
            admitted, lambda session_id: Refresh(share, session_id)
        )
        return await self.preparation.prepare(
            work.job, ticket, session.result(), stored.made_for, stored.key
        )


@dataclass(frozen=True)
class RepairShare:
    """t helpers give a signer that lost its share the share again; a refresh must follow.

    Each helper's operator has agreed on its host (``mpc-signer repair approve``).
    """

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True
    admission: Admission
    ceremonies: Ceremonies
    shares: Shares
    approvals: RepairApprovals
    restore_watch: RestoreWatch

    async def handle(self, work: Work) -> Handled:
        admitted = await self.admission.admit(work)
        ticket = admitted.ticket
        target = ticket.target
        assert target is not None  # the ticket's model sees to it
        if _require_request(work.job) != ticket.signers[target - 1]:
            raise Denied("request_mismatch", "the ticket is not for the signer that was asked for")
        me = index_of(ticket, admitted.quorum.me)
        helpers = [each.index for each in ticket.participants if each.index != target]
        share = None
        if me == target:
            await self._require_same_key(work.job, ticket)
            await self._require_lost(ticket)
        else:
            share = await self._helpers_share(work.job, admitted)
        session = await self.ceremonies.hold(
            admitted,
            lambda session_id: Repair(ticket.protocol, me, target, helpers, share, session_id),
        )
        repaired = session.result()
        if repaired is None:
            return Handled(result=NothingMade(), audit=audit_details(admitted))
        if repaired.public_key != work.job.key.public_key:
            raise Failed("wrong_share", "the helpers gave a share of another key")
        return Handled(
            result=NothingMade(),
            audit=audit_details(admitted),
            rows=[await self.shares.repaired_row(ticket, work.job.key.network, repaired)],
        )

    async def _require_same_key(self, job: Job, ticket: Ticket) -> None:
        """Compare with any share of the key that this signer ever used: one may be left."""
        stored = await self.shares.known(ticket.key_id)
        if stored is not None:
            require_same_key(stored.key, job, ticket)
            if stored.is_erased_by_operator:
                raise Denied("share_erased", "this signer's operator has erased the key's shares")
        elif not (self.restore_watch.has_asked or await self.restore_watch.has_seen(ticket.key_id)):
            # the key is older than this database, which may lack bans of the key
            await self.restore_watch.notice(f"it knows nothing of key {ticket.key_id}")
            self.restore_watch.require_whole()

    async def _require_lost(self, ticket: Ticket) -> None:
        """Raise Denied while this signer's own share of the set is good: it would be replaced."""
        assert ticket.share_set_id is not None
        stored = await self.shares.find(ticket.key_id, ticket.share_set_id)
        if stored is None or not stored.is_active:
            return
        try:
            await self.shares.open(stored)
        except Failed as error:
            if error.code == "share_unusable":
                return
            raise
        raise Denied("share_not_lost", "this signer's share can be opened: nothing to repair")

    async def _helpers_share(self, job: Job, admitted: Admitted) -> Share:
        """Raise Failed until this signer's operator has approved the repair."""
        ticket = admitted.ticket
        assert ticket.target is not None
        target = ticket.signers[ticket.target - 1]
        if not await self.approvals.holds(ticket.key_id, target):
            raise Failed("repair_not_approved", how_to_approve(ticket), transient=True)
        stored = await _share_of(self.shares, ticket)
        require_same_key(stored.key, job, ticket)
        require_share_of(stored, admitted, ticket.generation)
        return await self.shares.open(stored)


def _require_request(job: Job) -> str | None:
    """Return the signer whose share the application wants repaired; None for a refresh.

    Raises Denied for a request of anything else.
    """
    match job.endpoint:
        case Endpoint.REFRESHES:
            read_request(job, requests.RefreshKey.model_validate_json)
            return None
        case Endpoint.REPAIRS:
            return read_request(job, requests.RepairShare.model_validate_json).signer
    raise Denied("malformed_job", f"a {job.kind} job has no request to {job.endpoint.value}")


async def _share_of(shares: Shares, ticket: Ticket) -> StoredShare:
    """Return the share of the ticket's set. Raise Failed for another, or an uncertain one."""
    assert ticket.share_set_id is not None  # the ticket's model sees to it
    stored = await shares.find(ticket.key_id, ticket.share_set_id)
    if stored is not None and stored.is_in_use:
        require_certain(stored)
        return stored
    active = await shares.active(ticket.key_id)
    if active is not None:
        require_certain(active)
        raise wrong_generation(active, ticket.generation - (ticket.kind is CeremonyKind.REFRESH))
    raise Failed("no_share", "this signer has no share of that set in use", transient=True)
