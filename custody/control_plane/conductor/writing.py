"""Plans into what is written: the arrays that SQL takes, and the requests' ends. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from custody.control_plane.columns import Columns, columns
from custody.control_plane.conductor import queries
from custody.control_plane.conductor.planning.archiving import ARCHIVING
from custody.control_plane.conductor.planning.decisions import (
    Begin,
    Complete,
    End,
    Obeyed,
    Pause,
    Plan,
    Prepared,
    Reason,
    Signed,
)
from custody.control_plane.conductor.planning.facts import MAKES_KEYS, MAKES_SHARES
from custody.control_plane.conductor.planning.obstacles import BUSY
from custody.control_plane.conductor.planning.share_sets import ShareSet, coming_set
from custody.control_plane.conductor.reading import Facts
from custody.control_plane.conductor.step_making import NewStep
from custody.control_plane.jobs.reasons import RecordedOutcome
from custody.control_plane.jobs.results import KeyFacts, MadeKey
from custody.control_plane.jobs.transitions import Change, JobFacts, Note
from custody.control_plane.tables import JobState
from custody.wire.addresses import address_of
from custody.wire.algorithms import Protection
from custody.wire.jobs import JobKind
from custody.wire.outcomes import (
    GeneratedKey,
    NothingMade,
    Outcome,
    OutcomeStatus,
    PreparedImport,
)
from custody.wire.signed_bytes import SignedBytes

LOOK_AGAIN_SECONDS = 1.0
"""Seconds between two checks whether the signers that a request waits for are available."""
CLEAN_AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RequestMove:
    """The change of a request's row of ``jobs``; ``seen_state``: if it still has this state."""

    id: UUID
    seen_state: str
    state: str
    attempts: int
    failure: bytes | None
    delay: float
    must_finish: bool


@dataclass(frozen=True, slots=True)
class StepRow:
    """A new row of ``steps``."""

    id: UUID
    request_id: UUID
    number: int
    kind: str
    job_id: UUID
    share_set_id: UUID | None
    payload: bytes | None
    signature: bytes | None
    signing_key_id: str | None
    ticket: bytes | None
    ticket_signature: bytes | None
    ticket_key_id: str | None
    delivery_ticket: bytes | None
    delivery_signature: bytes | None
    deadline: datetime
    is_unsettled: bool


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A new row of ``tasks``."""

    step_id: UUID
    signer: str


@dataclass(frozen=True, slots=True)
class StepEnd:
    """The end of a step. ``culprits``: names with spaces between them, as unnest takes them."""

    id: UUID
    ending: str
    culprits: str


@dataclass(frozen=True, slots=True)
class Silence:
    """A signer that left its task of a step undone."""

    step_id: UUID
    signer: str


@dataclass(frozen=True, slots=True)
class SharesInUse:
    """The set of shares that the signers use already, of a key whose row names an older set."""

    key_id: UUID
    share_set_id: UUID | None
    generation: int


@dataclass(frozen=True, slots=True)
class SharesComing:
    """A set of shares that comes into use, or None where it no longer does.

    ``users``: the signers that use the set, with spaces between them.
    """

    key_id: UUID
    share_set_id: UUID | None
    users: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A request with its plan and, when that begins one, its new step."""

    facts: Facts
    plan: Plan
    step: NewStep | None

    @property
    def is_short_of_slots(self) -> bool:
        return isinstance(self.plan.decision, Pause) and self.plan.decision.reason.code == BUSY


@dataclass(slots=True)
class Written:
    """``is_durable``: the commit waits for the disk, so that no shares are ever forgotten."""

    endings: list[StepEnd] = field(default_factory=list)
    silent: list[Silence] = field(default_factory=list)
    settled: list[UUID] = field(default_factory=list)
    in_use: list[SharesInUse] = field(default_factory=list)
    coming: list[SharesComing] = field(default_factory=list)
    moves: list[RequestMove] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    is_durable: bool = False

    def queries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return the SQL that has something to write, with its values; not the moves."""
        if self.endings:
            yield queries.END_STEPS, columns(StepEnd, self.endings)
        if self.silent:
            yield queries.FALL_SILENT, columns(Silence, self.silent)
        if self.settled:
            yield queries.SETTLE, {"ids": self.settled}
        if self.in_use:
            yield queries.CORRECT_SHARES, columns(SharesInUse, self.in_use)
        if self.coming:
            yield queries.COME_INTO_USE, columns(SharesComing, self.coming)

    def begun(self) -> Columns:
        """Return the arrays of BEGIN_STEPS: the moves, the new steps and their tasks."""
        return {
            **columns(RequestMove, self.moves, "move_"),
            **columns(StepRow, self.steps, "step_"),
            **columns(TaskRow, self.tasks, "task_"),
        }


def written(planned: Sequence[Planned]) -> Written:
    """Return what plans write."""
    to_write = Written()
    for one in planned:
        _add_ending(to_write, one)
        _add_move(to_write, one)
        _add_correction(to_write, one)
        _add_coming_into_use(to_write, one)
        if one.step is not None:
            to_write.steps.append(_step_row(one.step))
            to_write.tasks += [TaskRow(one.step.id, signer) for signer in one.step.signers]
            to_write.is_durable |= one.step.kind is not JobKind.SIGN
        to_write.settled += one.plan.settled
    return to_write


def final_change(one: Planned) -> Change:
    """Return the end of a request."""
    decision = one.plan.decision
    if isinstance(decision, Complete):
        return _completed(one.facts, decision.made)
    if isinstance(decision, Prepared):
        return _done(one.facts, PreparedImport(statements=decision.statements))
    if isinstance(decision, Obeyed):
        return _done(one.facts, NothingMade())
    if isinstance(decision, Signed):
        raw = decision.outcome.model_dump_json().encode()
        return Change(_job_facts(one.facts), Note.RECORDED, JobState.DONE, raw)
    assert isinstance(decision, End)
    raw = _outcome(one.facts, decision.status, decision.reason, is_transient=False)
    state = JobState.DENIED if decision.status is OutcomeStatus.DENIED else JobState.FAILED
    return Change(_job_facts(one.facts), Note.RECORDED, state, raw)


def _add_ending(to_write: Written, one: Planned) -> None:
    ended = one.plan.ended
    if ended is None:
        return
    to_write.endings.append(StepEnd(ended.step.id, ended.ending.value, " ".join(ended.culprits)))
    to_write.silent += [Silence(ended.step.id, signer) for signer in ended.silent]
    to_write.is_durable |= ended.step.kind in MAKES_SHARES


def _add_move(to_write: Written, one: Planned) -> None:
    """Executing while a step is under way; else Queued until the next look."""
    decision, facts = one.plan.decision, one.facts
    failure, delay, state = one.plan.failure, one.plan.delay_seconds, JobState.QUEUED
    if isinstance(decision, Pause):
        failure = decision.reason
        delay = 0.0 if one.is_short_of_slots else LOOK_AGAIN_SECONDS
    elif one.step is not None:
        state = JobState.LEASED
    elif delay == 0:
        if not facts.request.is_final:
            return
        delay = CLEAN_AGAIN_SECONDS
    if facts.request.is_final:
        state, failure = JobState(facts.row.state), None
    raw = None
    if failure is not None:
        raw = _outcome(facts, OutcomeStatus.FAILED, failure, is_transient=True)
    to_write.moves.append(
        RequestMove(
            id=facts.request.id,
            seen_state=facts.row.state,
            state=state.value,
            attempts=int(one.step is not None),
            failure=None if raw == facts.row.last_failure else raw,
            delay=delay,
            must_finish=_must_finish(one),
        )
    )


def _must_finish(one: Planned) -> bool:
    """Return whether it must finish: signers are about to use or keep what it made.

    The end of a request to archive follows from what its signers have done until then.
    """
    if one.step is None:
        return False
    return one.step.kind in (JobKind.PROMISE, JobKind.ACTIVATE_KEY, *ARCHIVING)


def _step_row(step: NewStep) -> StepRow:
    payload, signature, signing_key_id = _parts(step.job)
    ticket, ticket_signature, ticket_key_id = _parts(step.ticket)
    delivery_ticket, delivery_signature, _ = _parts(step.delivery_ticket)
    return StepRow(
        id=step.id,
        request_id=step.request_id,
        number=step.number,
        kind=step.kind.value,
        job_id=step.job_id,
        share_set_id=step.share_set_id,
        payload=payload,
        signature=signature,
        signing_key_id=signing_key_id,
        ticket=ticket,
        ticket_signature=ticket_signature,
        ticket_key_id=ticket_key_id,
        delivery_ticket=delivery_ticket,
        delivery_signature=delivery_signature,
        deadline=step.deadline,
        is_unsettled=step.is_unsettled,
    )


def _parts(signed: SignedBytes | None) -> tuple[bytes | None, bytes | None, str | None]:
    """Return the payload, the signature and the id of the signing key."""
    if signed is None:
        return None, None, None
    return signed.payload, signed.signature, signed.signing_key_id


def _add_correction(to_write: Written, one: Planned) -> None:
    """Add the correction of a key's row that is behind the signers."""
    in_use, row = one.facts.request.in_use, one.facts.row
    if in_use.share_set_id != row.share_set_id:
        to_write.in_use.append(SharesInUse(row.root_id, in_use.share_set_id, in_use.generation))


def _add_coming_into_use(to_write: Written, one: Planned) -> None:
    """While the signers take a refreshed set into use one after the other, both sets sign."""
    request = one.facts.request
    if request.is_final or request.kind not in (JobKind.REFRESH_KEY, JobKind.REPAIR_SHARE):
        return
    made, decision = coming_set(request), one.plan.decision
    begins = isinstance(decision, Begin) and decision.kind is JobKind.ACTIVATE_KEY
    if made is None or isinstance(decision, Complete) or not (made.attestations or begins):
        return
    is_over = isinstance(decision, End)  # fewer than t use it, so it signs nothing
    to_write.coming.append(
        SharesComing(
            key_id=one.facts.row.root_id,
            share_set_id=None if is_over else made.id,
            users="" if is_over else " ".join(sorted(made.attestations)),
        )
    )


def _done(facts: Facts, result: PreparedImport | NothingMade) -> Change:
    """Return the end of a request that makes no set of shares."""
    outcome = Outcome(job_id=facts.request.id, node=None, status=OutcomeStatus.DONE, result=result)
    raw = outcome.model_dump_json().encode()
    return Change(_job_facts(facts), Note.RECORDED, JobState.DONE, raw)


def _completed(facts: Facts, made: ShareSet) -> Change:
    key = facts.job.key
    attested = made.attested()
    is_new = facts.request.kind in MAKES_KEYS
    address = None
    if is_new and key.network is not None:
        address = address_of(key.network, key.algorithm, attested.public_key)
    signers = facts.request.group.signers
    attestations = None
    if set(made.attestations) >= set(signers):
        attestations = tuple(made.attestations[each] for each in signers)
    new_key = MadeKey(
        public_key=attested.public_key,
        protection=Protection.MPC.value,
        address=address,
        attestations=attestations,
        chain_code=attested.chain_code,
        generation=next(iter(made.said().values())).generation,
        share_set_id=made.id,
    )
    result = GeneratedKey(
        scheme=key.scheme,
        curve=key.curve,
        public_key=attested.public_key,
        protection=Protection.MPC,
    )
    outcome = Outcome(
        job_id=facts.request.id,
        node=None,
        status=OutcomeStatus.DONE,
        result=result if is_new else NothingMade(),
    )
    raw = outcome.model_dump_json().encode()
    return Change(_job_facts(facts), Note.RECORDED, JobState.DONE, raw, new_key=new_key)


def _job_facts(facts: Facts) -> JobFacts:
    key = facts.job.key
    return JobFacts(
        id=facts.request.id,
        kind=facts.row.kind,
        payload=facts.row.payload,
        state=JobState(facts.row.state),
        key=KeyFacts(key.algorithm, key.network, key.public_key),
    )


def _outcome(facts: Facts, status: OutcomeStatus, reason: Reason, is_transient: bool) -> bytes:
    outcome = RecordedOutcome(
        job_id=facts.request.id,
        node=reason.node,
        status=status,
        code=reason.code,
        reason=reason.text,
        summary=reason.summary,
        transient=is_transient,
        culprits=reason.culprits,
    )
    return outcome.model_dump_json().encode()
