"""The sets of shares that a request is about, and what the signers have said of each. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from custody.control_plane.conductor.planning.facts import MAKES_SHARES, Request, SharesInUse, Step
from custody.wire.jobs import JobKind
from custody.wire.outcomes import (
    AbandonedShare,
    ActivatedShare,
    NothingMade,
    OutcomeStatus,
    PreparedShare,
    PromisedShare,
)
from custody.wire.signed_bytes import SignedBytes
from custody.wire.statements import Attestation, Confirmation, Promise, ShareStatement

NO_SHARE = "no_share"
NOT_PROVED = "not_proved"
SET_PENDING = "set_pending"
WRONG_GENERATION = "wrong_generation"

_WITH_A_SHARE = (JobKind.PROVE_KEY, JobKind.PROMISE, JobKind.ACTIVATE_KEY)


@dataclass(slots=True)
class ShareSet:
    """A set of shares, by its ceremony, and what each signer has said of it since.

    ``is_unsettled``: it may have left shares behind. ``is_foreign``: the request has not begun it,
    a signer has named it. ``lost``: the signers that say that they have no share of it. ``failed``:
    those whose last answer to being asked to promise or use it was that they do not.
    ``proved_with``: by signer, the signers with which it says that its share has signed.
    """

    id: UUID
    is_unsettled: bool = False
    is_foreign: bool = False
    confirmed: dict[str, SignedBytes] = field(default_factory=dict)
    promised: dict[str, SignedBytes] = field(default_factory=dict)
    abandoned: dict[str, SignedBytes] = field(default_factory=dict)
    discarded: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    proved_with: dict[str, set[str]] = field(default_factory=dict)
    attestations: dict[str, SignedBytes] = field(default_factory=dict)

    @property
    def gone(self) -> set[str]:
        """Return the signers that have no share of it, and never will."""
        return {*self.abandoned, *self.discarded}

    def said(self) -> dict[str, ShareStatement]:
        """Return each signer's statement of the set: its promise, or else its confirmation."""
        confirmed: dict[str, ShareStatement] = {
            signer: Confirmation.model_validate_json(signed.payload)
            for signer, signed in self.confirmed.items()
        }
        return confirmed | {
            signer: Promise.model_validate_json(signed.payload)
            for signer, signed in self.promised.items()
        }

    def attested(self) -> Attestation:
        """Return the facts that all users of the set attest alike."""
        signed = next(iter(self.attestations.values()))
        return Attestation.model_validate_json(signed.payload)


def set_in_use(request: Request) -> SharesInUse:
    """Return the set in use: the key row's, or a later one that t signers say they use.

    As after the control plane's database was restored from before a refresh. Among t is one that
    does not lie, and no honest signer uses a set that not all have promised.
    """
    if request.in_use.share_set_id is None:
        return request.in_use
    for made in share_sets(request):
        if not made.is_foreign or not is_used(request, made):
            continue
        generation = max(each.generation for each in made.said().values())
        if generation > request.in_use.generation:
            return SharesInUse(generation, made.id)
    if request.in_use.next_share_set_id is not None:
        return request.in_use
    told: dict[SharesInUse, set[str]] = {}
    for step in request.steps:
        for signer, outcome in step.outcomes.items():
            if outcome.code == WRONG_GENERATION and outcome.shares is not None:
                said = SharesInUse(outcome.shares.generation, outcome.shares.ceremony)
                told.setdefault(said, set()).add(signer)
    believed = [said for said, by in told.items() if len(by) >= request.group.threshold]
    return max([request.in_use, *believed], key=lambda each: each.generation)


def share_sets(request: Request) -> list[ShareSet]:
    """Return every share set that the request has to settle, in the order of their making.

    First come the sets of other requests that blocked the last attempt, then this request's own.
    """
    making = [step for step in request.steps if step.kind in MAKES_SHARES]
    own = {
        step.id: ShareSet(step.id, step.is_unsettled and step.ending is not None) for step in making
    }
    named = [
        outcome.shares.ceremony
        for step in making[-1:]
        for outcome in step.outcomes.values()
        if outcome.code == SET_PENDING and outcome.shares is not None
    ]
    in_the_way = {ceremony: ShareSet(ceremony, is_foreign=True) for ceremony in named}
    sets = in_the_way | own
    for step in request.steps:
        if step.share_set_id in sets:
            _take_in(sets[step.share_set_id], step)
    return list(sets.values())


def is_kept(request: Request, made: ShareSet) -> bool:
    """Return whether all n have promised: it is here to stay."""
    return set(made.promised) >= set(request.group.signers)


def is_gone(request: Request, made: ShareSet) -> bool:
    """Return whether no signer has a share of it any more."""
    return made.gone >= set(request.group.signers)


def is_used(request: Request, made: ShareSet) -> bool:
    """Return whether t signers use it, and the others never will."""
    users = set(made.attestations)
    everybody = users | unable(request, made) >= set(request.group.signers)
    return len(users) >= request.group.threshold and everybody


def unable(request: Request, made: ShareSet) -> set[str]:
    """Return the signers that the others do not wait for.

    A signer counts if it has lost its share. After the request's time is over, a signer that has
    not answered counts too.
    """
    return made.lost | made.failed if request.is_late else made.lost


def coming_set(request: Request) -> ShareSet | None:
    """Return the set that the signers are taking into use one after the other."""
    kept = [made for made in share_sets(request) if is_kept(request, made)]
    return next((made for made in kept if not is_used(request, made)), None)


def _take_in(about: ShareSet, step: Step) -> None:
    for signer, outcome in step.outcomes.items():
        if step.kind is JobKind.PROMISE and outcome.code == NOT_PROVED:
            about.proved_with.pop(signer, None)
        if step.kind in _WITH_A_SHARE and outcome.code == NO_SHARE and not outcome.transient:
            about.lost.add(signer)
        if outcome.status is not OutcomeStatus.DONE:
            if step.kind in (JobKind.PROMISE, JobKind.ACTIVATE_KEY):
                about.failed.add(signer)
            continue
        match outcome.result:
            case PreparedShare():
                about.confirmed[signer] = outcome.result.confirmation
            case PromisedShare():
                about.promised[signer] = outcome.result.promise
                about.failed.discard(signer)
            case AbandonedShare():
                about.abandoned[signer] = outcome.result.abandonment
            case ActivatedShare():
                about.attestations[signer] = outcome.result.attestation
                about.failed.discard(signer)
            case NothingMade() if step.kind in (JobKind.ABANDON, JobKind.DISCARD):
                about.discarded.add(signer)
        if step.kind is JobKind.PROVE_KEY:
            others = {task.signer for task in step.tasks} - {signer}
            about.proved_with.setdefault(signer, set()).update(others)


def dissenters(said: Mapping[str, ShareStatement]) -> tuple[str, ...] | None:
    """Return the signers that state another set than most; None if all agree.

    Empty when they differ, and none of the versions is most signers'.
    """
    versions: dict[str, list[str]] = {}
    for signer, statement in said.items():
        versions.setdefault(str(sorted(statement.agreed.items())), []).append(signer)
    if len(versions) <= 1:
        return None
    largest = max(versions.values(), key=len)
    if 2 * len(largest) <= len(said):
        return ()
    return tuple(sorted(set(said) - set(largest)))
