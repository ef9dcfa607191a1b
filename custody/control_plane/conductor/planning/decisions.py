"""The possible decisions about a request. Plain data."""

from dataclasses import dataclass
from uuid import UUID

from custody.control_plane.conductor.planning.facts import Ending, Step
from custody.control_plane.conductor.planning.share_sets import ShareSet
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.signed_bytes import SignedBytes


@dataclass(frozen=True, slots=True)
class Reason:
    """``node``: the signer that says so, where it is one alone.

    ``text`` is for operators, ``summary`` is as much of it as every application may read.
    """

    code: str
    text: str
    summary: str | None = None
    node: str | None = None
    culprits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Begin:
    """Have signers do the next step. In a ceremony they are ordered by index.

    ``share_set_id``: of the set that it uses or is about; None for Generate. ``generation``: of
    that set, or of the one that Generate and Refresh make.
    """

    kind: JobKind
    signers: tuple[str, ...]
    share_set_id: UUID | None
    generation: int
    evidence: tuple[SignedBytes, ...] = ()
    public_key: bytes | None = None
    """Of a key that the request itself makes, once it is known."""
    dealers: tuple[int, ...] | None = None
    """The indices of the signers that deal together, of DealShares."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing to do until signers are there, or have a free slot."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class End:
    """The request is Denied or Failed."""

    status: OutcomeStatus
    reason: Reason


@dataclass(frozen=True, slots=True)
class Complete:
    """All n use the set that the request has made: it is Done."""

    made: ShareSet


@dataclass(frozen=True, slots=True)
class Prepared:
    """All n have stated an import key: the request is Done. ``statements``: by index."""

    statements: tuple[SignedBytes, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do for now: a step is under way, a pause is not over, or all is done."""


@dataclass(frozen=True, slots=True)
class Obeyed:
    """Enough signers have archived or un-archived the key: the request is Done."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signer has reported the signature: the request is Done."""

    outcome: Outcome


Decision = Begin | Pause | End | Complete | Prepared | Obeyed | Signed | Rest


@dataclass(frozen=True, slots=True)
class Ended:
    """A step that is over."""

    step: Step
    ending: Ending
    culprits: tuple[str, ...]
    silent: tuple[str, ...] = ()
    """The signers that left their task undone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Write ``ended``, then do ``decision``; after a failure only when ``delay_seconds`` are over.

    ``settled``: the steps whose shares are in use everywhere, or gone everywhere.
    """

    decision: Decision
    ended: Ended | None = None
    failure: Reason | None = None
    delay_seconds: float = 0.0
    settled: tuple[UUID, ...] = ()
