"""Steps as they are made: the signed job and, for a ceremony, the two signed tickets."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from custody.control_plane.conductor.planning.decisions import Begin
from custody.control_plane.conductor.planning.facts import CEREMONY_OF, MAKES_SHARES, SignerGroup
from custody.control_plane.conductor.settings import CeremoniesSection
from custody.wire.delivery import DeliveryTicket
from custody.wire.digests import digest_of
from custody.wire.jobs import Job, JobKind, KeyHolders, job_digest
from custody.wire.possession import possession_request
from custody.wire.requests import CREATE_SIGNATURE
from custody.wire.signed_bytes import (
    DELIVERY_TICKET_TYPE,
    JOB_TYPE,
    TICKET_TYPE,
    SignedBytes,
    SigningKey,
)
from custody.wire.tickets import SECRET_BYTES, CeremonyKind, Participant, Ticket, protocol_of

GRACE = timedelta(seconds=2)
"""Seconds for the report of a signer that waited for a silent one until the ticket expired."""

ABOUT_A_SET = (
    JobKind.PROVE_KEY,
    JobKind.PROMISE,
    JobKind.ACTIVATE_KEY,
    JobKind.ABANDON,
    JobKind.DISCARD,
    JobKind.DEAL_SHARES,
)
AT_OLD_SIGNERS = (JobKind.APPROVE, JobKind.DEAL_SHARES)
"""The steps of a copy that are about the copied key."""


@dataclass(frozen=True, slots=True)
class NewStep:
    """A row of ``steps`` with its tasks. ``job`` is None for Sign: the request's is the step's."""

    id: UUID
    request_id: UUID
    number: int
    kind: JobKind
    job_id: UUID
    share_set_id: UUID | None
    job: SignedBytes | None
    ticket: SignedBytes | None
    delivery_ticket: SignedBytes | None
    deadline: datetime
    signers: tuple[str, ...]

    @property
    def is_unsettled(self) -> bool:
        """Return whether it may leave shares behind."""
        return self.kind in MAKES_SHARES


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as its steps need it: ``payload`` is its job as signed, ``job`` the same, read.

    ``may_outlive``: the step continues after the request's expiry. ``now``: by the database's
    clock, with which nodes compare theirs. ``servers``: the delivery servers to choose from.
    """

    payload: bytes
    job: Job
    group: SignerGroup
    steps_so_far: int
    ceremonies_so_far: int
    may_outlive: bool
    now: datetime
    servers: tuple[str, ...]
    target: str | None = None


class StepMaker:
    """Makes steps and signs them. Pure but for fresh ids."""

    def __init__(
        self,
        signer: SigningKey,
        settings: CeremoniesSection,
        delivery_servers: Sequence[str],
        lifetime_seconds: int,
    ) -> None:
        self._signer = signer
        self._settings = settings
        self.servers = tuple(delivery_servers)
        self._lifetime = timedelta(seconds=lifetime_seconds)

    def make(self, asked: Asked, begin: Begin) -> NewStep:
        now = asked.now
        step_id = uuid4()
        is_sign = begin.kind is JobKind.SIGN
        expires_at = now + timedelta(seconds=self._settings.seconds_for(begin.kind))
        job = asked.job if is_sign else self._job(asked, begin, step_id, now)
        payload = asked.payload if is_sign else job.model_dump_json().encode()
        ticket = delivery_ticket = None
        if begin.kind in CEREMONY_OF:
            made = self._ticket(asked, begin, step_id, job, job_digest(payload), expires_at)
            ticket = self._signer.sign(TICKET_TYPE, made.model_dump_json().encode())
            shown = DeliveryTicket.of(made).model_dump_json().encode()
            delivery_ticket = self._signer.sign(DELIVERY_TICKET_TYPE, shown)
        return NewStep(
            id=step_id,
            request_id=asked.job.id,
            number=asked.steps_so_far + 1,
            kind=begin.kind,
            job_id=job.id,
            share_set_id=step_id if begin.kind in MAKES_SHARES else begin.share_set_id,
            job=None if is_sign else self._signer.sign(JOB_TYPE, payload),
            ticket=ticket,
            delivery_ticket=delivery_ticket,
            deadline=expires_at + GRACE,
            signers=begin.signers,
        )

    def _job(self, asked: Asked, begin: Begin, step_id: UUID, now: datetime) -> Job:
        request = asked.job
        key = request.key
        holders = copied_from = None
        if begin.kind is JobKind.PREPARE_IMPORT or request.kind == JobKind.COPY_KEY:
            holders = _holders(asked.group)
        if request.kind == JobKind.COPY_KEY and begin.kind not in AT_OLD_SIGNERS:
            key, copied_from = key.model_copy(update={"id": request.id}), key.id
        if begin.public_key is not None:
            key = key.model_copy(update={"public_key": begin.public_key})
        return Job(
            id=step_id,
            step_of=request.id,
            kind=begin.kind,
            group=request.group,
            key=key,
            endpoint=request.endpoint,
            request=request.request,
            request_signature=request.request_signature,
            evidence=begin.evidence,
            ceremony=begin.share_set_id if begin.kind in ABOUT_A_SET else None,
            created_at=request.created_at,
            holders=holders,
            copied_from=copied_from,
            dealers=begin.dealers,
            expires_at=now + self._lifetime if asked.may_outlive else request.expires_at,
        )

    def _ticket(
        self,
        asked: Asked,
        begin: Begin,
        ceremony: UUID,
        job: Job,
        digest: bytes,
        expires_at: datetime,
    ) -> Ticket:
        group = asked.group
        index_of = {signer: index for index, signer in enumerate(group.signers, start=1)}
        kind = CEREMONY_OF[begin.kind]
        is_repair = kind is CeremonyKind.REPAIR and asked.target is not None
        return Ticket(
            ceremony=ceremony,
            meeting=uuid4(),
            secret=secrets.token_bytes(SECRET_BYTES),
            kind=kind,
            job_id=job.id,
            job_digest=digest,
            key_id=job.key.root or job.key.id,
            generation=begin.generation,
            share_set_id=begin.share_set_id,
            protocol=protocol_of(job.key.algorithm),
            group=group.name,
            threshold=group.threshold,
            signers=list(group.signers),
            participants=[
                Participant(signer=signer, index=index_of[signer])
                for signer in sorted(begin.signers, key=index_of.__getitem__)
            ],
            target=index_of[str(asked.target)] if is_repair else None,
            digest=_digest(begin, job),
            delivery=self._server(asked),
            issued_at=asked.now,
            expires_at=expires_at,
        )

    def _server(self, asked: Asked) -> str:
        """In turn: another one for the next attempt, however many orders are given between them."""
        return asked.servers[(asked.job.id.int + asked.ceremonies_so_far) % len(asked.servers)]


def _holders(group: SignerGroup) -> KeyHolders:
    return KeyHolders(group=group.name, threshold=group.threshold, signers=group.signers)


def _digest(begin: Begin, job: Job) -> bytes | None:
    key = job.key
    if begin.kind is JobKind.SIGN:
        request = CREATE_SIGNATURE.validate_json(job.request)
        return digest_of(request, key.algorithm, key.network, key.public_key)
    if begin.kind is JobKind.PROVE_KEY:
        return possession_request(key.algorithm, key.id, begin.share_set_id)[1]
    return None
