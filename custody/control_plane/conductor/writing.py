"""Plans into what is written: the arrays that the statements take, and the requests' ends. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import TextClause

from custody.control_plane.conductor import statements
from custody.control_plane.conductor.planning.decisions import (
    Begin,
    Complete,
    End,
    Pause,
    Plan,
    Reason,
)
from custody.control_plane.conductor.planning.facts import MAKES_SHARES
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
from custody.wire.outcomes import GeneratedKey, NothingMade, Outcome, OutcomeStatus

LOOK_AGAIN_SECONDS = 1.0
"""Between two looks whether the signers that a request waits for are there."""
CLEAN_AGAIN_SECONDS = 10.0

Arrays = dict[str, list[Any]]

_MOVES = (
    "ids",
    "seen_states",
    "states",
    "attempts",
    "failures",
    "delays",
    "must_finish",
    "step_ids",
    "request_ids",
    "numbers",
    "kinds",
    "job_ids",
    "shares",
    "payloads",
    "signatures",
    "signing_key_ids",
    "tickets",
    "ticket_signatures",
    "ticket_key_ids",
    "delivery_tickets",
    "delivery_signatures",
    "deadlines",
    "unsettled",
    "task_steps",
    "task_signers",
)


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

    endings: Arrays = field(default_factory=lambda: {"ids": [], "endings": [], "culprits": []})
    silent: Arrays = field(default_factory=lambda: {"steps": [], "signers": []})
    settled: list[Any] = field(default_factory=list)
    in_use: Arrays = field(default_factory=lambda: {"keys": [], "shares": [], "generations": []})
    coming: Arrays = field(default_factory=lambda: {"keys": [], "shares": [], "users": []})
    moves: Arrays = field(default_factory=lambda: {name: [] for name in _MOVES})
    is_durable: bool = False

    def statements(self) -> Iterator[tuple[TextClause, dict[str, Any]]]:
        """Those that have something to write, but for the moves."""
        if self.endings["ids"]:
            yield statements.END_STEPS, self.endings
        if self.silent["steps"]:
            yield statements.FALL_SILENT, self.silent
        if self.settled:
            yield statements.SETTLE, {"ids": self.settled}
        if self.in_use["keys"]:
            yield statements.CORRECT_SHARES, self.in_use
        if self.coming["keys"]:
            yield statements.COME_INTO_USE, self.coming


def written(planned: Sequence[Planned]) -> Written:
    """What plans come to."""
    to_write = Written()
    for one in planned:
        _add_ending(to_write, one)
        _add_move(to_write, one)
        _add_correction(to_write, one)
        _add_coming_into_use(to_write, one)
        if one.step is not None:
            _add_step(to_write.moves, one.step)
            to_write.is_durable |= one.step.kind is not JobKind.SIGN
        to_write.settled += one.plan.settled
    return to_write


def final_change(one: Planned) -> Change:
    """The end of a request."""
    decision = one.plan.decision
    if isinstance(decision, Complete):
        return _completed(one.facts, decision.made)
    assert isinstance(decision, End)
    raw = _outcome(one.facts, decision.status, decision.reason, is_transient=False)
    state = JobState.DENIED if decision.status is OutcomeStatus.DENIED else JobState.FAILED
    return Change(_job_facts(one.facts), Note.RECORDED, state, raw)


def _add_ending(to_write: Written, one: Planned) -> None:
    ended = one.plan.ended
    if ended is None:
        return
    to_write.endings["ids"].append(ended.step.id)
    to_write.endings["endings"].append(ended.ending.value)
    to_write.endings["culprits"].append(" ".join(ended.culprits))
    to_write.silent["steps"] += [ended.step.id] * len(ended.silent)
    to_write.silent["signers"] += ended.silent
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
    moves = to_write.moves
    moves["ids"].append(facts.request.id)
    moves["seen_states"].append(facts.row.state)
    moves["states"].append(state.value)
    moves["attempts"].append(int(one.step is not None))
    moves["failures"].append(None if raw == facts.row.last_failure else raw)
    moves["delays"].append(delay)
    moves["must_finish"].append(_must_finish(one))


def _must_finish(one: Planned) -> bool:
    """Whether it must finish: signers are about to use, or to keep permanently, what it made."""
    if one.step is None:
        return False
    return one.step.kind in (JobKind.PROMISE, JobKind.ACTIVATE_KEY)


def _add_step(moves: Arrays, step: NewStep) -> None:
    job, ticket, delivery_ticket = step.job, step.ticket, step.delivery_ticket
    moves["step_ids"].append(step.id)
    moves["request_ids"].append(step.request_id)
    moves["numbers"].append(step.number)
    moves["kinds"].append(step.kind.value)
    moves["job_ids"].append(step.job_id)
    moves["shares"].append(step.shares)
    moves["payloads"].append(job and job.payload)
    moves["signatures"].append(job and job.signature)
    moves["signing_key_ids"].append(job and job.signing_key_id)
    moves["tickets"].append(ticket and ticket.payload)
    moves["ticket_signatures"].append(ticket and ticket.signature)
    moves["ticket_key_ids"].append(ticket and ticket.signing_key_id)
    moves["delivery_tickets"].append(delivery_ticket and delivery_ticket.payload)
    moves["delivery_signatures"].append(delivery_ticket and delivery_ticket.signature)
    moves["deadlines"].append(step.deadline)
    moves["unsettled"].append(step.is_unsettled)
    moves["task_steps"] += [step.id] * len(step.signers)
    moves["task_signers"] += step.signers


def _add_correction(to_write: Written, one: Planned) -> None:
    """Where the signers are further than the key's row."""
    in_use, row = one.facts.request.in_use, one.facts.row
    if in_use.shares != row.shares:
        to_write.in_use["keys"].append(row.root_id)
        to_write.in_use["shares"].append(in_use.shares)
        to_write.in_use["generations"].append(in_use.generation)


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
    to_write.coming["keys"].append(one.facts.row.root_id)
    to_write.coming["shares"].append(None if is_over else made.id)
    to_write.coming["users"].append("" if is_over else " ".join(sorted(made.attestations)))


def _completed(facts: Facts, made: ShareSet) -> Change:
    key = facts.job.key
    attested = made.attested()
    is_new = facts.request.kind is JobKind.GENERATE_KEY
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
        shares=made.id,
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
