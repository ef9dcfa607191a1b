"""The next step of a copy: a key's old signers deal it to another signer group. Pure.

The old signers' owners decide first. Then each new signer makes an import key, t old signers deal,
and all new signers turn the dealings into a set of shares. From there on the set comes into use as
that of a new key (set_making.py). An abort at any step leaves the old group as it was.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from custody.control_plane.conductor.planning.decisions import Begin, Decision
from custody.control_plane.conductor.planning.facts import Ending, Origin, Request, Step
from custody.control_plane.conductor.planning.history import Blame, blame, refusals
from custody.control_plane.conductor.planning.obstacles import hopeless, waiting
from custody.control_plane.conductor.planning.preparing import stated_import_keys
from custody.control_plane.conductor.planning.quorum import choose, prefer
from custody.control_plane.conductor.planning.signing import free_to_take_part, sets_in_use
from custody.wire.jobs import JobKind
from custody.wire.outcomes import DealtShares, OutcomeStatus
from custody.wire.signed_bytes import SignedBytes

BAD_DEALING = "bad_dealing"
NO_IMPORT_KEY = "no_import_key"
"""A new signer has erased its import key: all begin again with import keys."""


@dataclass(slots=True)
class Progress:
    """What the last attempt has left. ``dealings``: of one whole quorum, by dealer."""

    statements: dict[str, SignedBytes] = field(default_factory=dict)
    dealings: dict[str, SignedBytes] = field(default_factory=dict)


def next_step_before_shares(request: Request) -> Decision:
    """Return the next step until the new signers have shares."""
    origin, signers = request.origin, request.group.signers
    assert origin is not None  # the API requires a key to copy
    old = _at_old_signers(request, origin)
    end = hopeless(old, old.group.threshold, old.group.signers, ())
    end = end or hopeless(request, len(signers), signers, ())
    if end is not None:
        return end
    progress = _progress(request)
    if progress.dealings:
        return _take_shares(request, old, progress.dealings)
    chosen = _dealers(old)
    if chosen is None:
        return _ask_or_wait(old)
    missing = [signer for signer in signers if signer not in progress.statements]
    if missing:
        there = tuple(request.there(missing))
        if not there:
            return waiting(request, len(missing), missing, ())
        return Begin(JobKind.PREPARE_IMPORT, there, None, 0)
    share_set_id, generation, dealers = chosen
    return Begin(
        JobKind.DEAL_SHARES,
        dealers,
        share_set_id,
        generation,
        tuple(progress.statements[signer] for signer in signers),
        dealers=tuple(old.group.signers.index(dealer) + 1 for dealer in dealers),
    )


def _at_old_signers(request: Request, origin: Origin) -> Request:
    """Return the request as the old signers see it. Dealers do not meet, so bans do not matter."""
    return replace(
        request, group=origin.group, in_use=origin.in_use, bans=frozenset(), left_in_flight=()
    )


def _progress(request: Request) -> Progress:
    found = Progress()
    for step in request.steps:
        codes = {outcome.code for outcome in step.outcomes.values()}
        match step.kind:
            case JobKind.DEAL_SHARES | JobKind.COPY_KEY if NO_IMPORT_KEY in codes:
                found = Progress()
            case JobKind.PREPARE_IMPORT:
                found.statements |= stated_import_keys([step])
            case JobKind.DEAL_SHARES:
                found.dealings = _dealings(step)
            case JobKind.COPY_KEY if BAD_DEALING in codes:
                found.dealings = {}
    return found


def _dealings(step: Step) -> dict[str, SignedBytes]:
    """Return the dealings of a step; none unless all its signers have dealt."""
    found = {
        signer: outcome.result.dealing
        for signer, outcome in step.outcomes.items()
        if outcome.status is OutcomeStatus.DONE and isinstance(outcome.result, DealtShares)
    }
    return found if step.ending is Ending.DONE else {}


def _dealers(old: Request) -> tuple[UUID | None, int, tuple[str, ...]] | None:
    """Return a set in use, its generation, and t of its users in order of their index.

    Signers that were blamed for dealings of this request come last.
    """
    out, free_to = refusals(old), free_to_take_part(old)
    willing = [signer for signer in old.group.signers if signer not in out and signer in free_to]
    ordered = prefer(old, old.there(willing), _dealers_blame(old))
    for share_set_id, generation, users in sets_in_use(old):
        able = [signer for signer in ordered if signer in users]
        quorum = choose(old.group.threshold, able, ())
        if quorum is not None:
            by_index = sorted(quorum, key=old.group.signers.index)
            return share_set_id, generation, tuple(by_index)
    return None


def _dealers_blame(request: Request) -> Mapping[str, Blame]:
    """Return how often each signer failed to deal, and how often a failure was blamed on it.

    A signer deals by itself, so its own failures count first: it may name others each time.
    """
    failed: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    dealt: tuple[str, ...] = ()
    for step in request.steps:
        if step.kind is JobKind.DEAL_SHARES:
            dealt = tuple(task.signer for task in step.tasks)
            failed.update(
                signer
                for signer, outcome in step.outcomes.items()
                if outcome.status is not OutcomeStatus.DONE
            )
        codes = {outcome.code for outcome in step.outcomes.values()}
        if step.kind is JobKind.COPY_KEY and BAD_DEALING in codes:
            refused.update(dealt)
    refused.update({signer: by_others for signer, (_, by_others) in blame(request).items()})
    return {signer: (failed[signer], refused[signer]) for signer in failed | refused}


def _ask_or_wait(old: Request) -> Decision:
    """Ask the gates of available old signers, or wait until enough of them are there."""
    out, free_to = refusals(old), free_to_take_part(old)
    willing = [signer for signer in old.group.signers if signer not in out]
    unasked = tuple(signer for signer in old.there(willing) if signer not in free_to)
    if unasked:
        in_use = old.in_use
        return Begin(JobKind.APPROVE, unasked, in_use.share_set_id, in_use.generation)
    return waiting(old, old.group.threshold, willing, ())


def _take_shares(request: Request, old: Request, dealings: Mapping[str, SignedBytes]) -> Decision:
    """Have all new signers make shares of the dealings, in one ceremony."""
    signers = request.group.signers
    if any(request.member(each).free < 1 or not request.there([each]) for each in signers):
        return waiting(request, len(signers), signers, ())
    in_order = sorted(dealings, key=old.group.signers.index)
    evidence = tuple(dealings[dealer] for dealer in in_order)
    return Begin(JobKind.COPY_KEY, signers, None, 0, evidence)
