"""The facts for planning the next step of a request. Plain data, read from rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome
from custody.wire.tickets import CeremonyKind

Pair = frozenset[str]
"""Two signers; one of them has banned the other."""


@dataclass(frozen=True, slots=True)
class Left:
    """``signer`` stopped while it signed with ``counterparty`` under a root key.

    They do not work together under it until the signer's operator has found out why.
    """

    key_id: UUID
    signer: str
    counterparty: str

    @property
    def pair(self) -> Pair:
        return frozenset((self.signer, self.counterparty))


CEREMONY_OF = {
    JobKind.SIGN: CeremonyKind.SIGN,
    JobKind.GENERATE_KEY: CeremonyKind.GENERATE,
    JobKind.IMPORT_KEY: CeremonyKind.IMPORT,
    JobKind.COPY_KEY: CeremonyKind.IMPORT,
    JobKind.PROVE_KEY: CeremonyKind.SIGN,
    JobKind.REFRESH_KEY: CeremonyKind.REFRESH,
    JobKind.REPAIR_SHARE: CeremonyKind.REPAIR,
}
"""The kinds of jobs that signers do together; the others are orders to each by itself."""

MAKES_KEYS = (JobKind.GENERATE_KEY, JobKind.IMPORT_KEY, JobKind.COPY_KEY)
"""The kinds that make a key that was not there before. They need all n signers to the end."""
MAKES_SHARES = (*MAKES_KEYS, JobKind.REFRESH_KEY)
"""The kinds that end with a new set of shares at all n."""


class Ending(StrEnum):
    """The ways in which a step ends."""

    DONE = "done"
    FAILED = "failed"
    """A signer could not, would not, or brought something wrong."""
    SILENT = "silent"
    """A signer did not claim its task, or not report it, in time."""
    OVERTAKEN = "overtaken"
    """The request continued without it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A signer's part of a step. ``is_late``: it should have been claimed or reported by now."""

    signer: str
    outcome: Outcome | None = None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """``share_set_id``: the set of shares that it makes, uses or is about, by its ceremony."""

    id: UUID
    number: int
    kind: JobKind
    share_set_id: UUID | None
    tasks: tuple[Task, ...]
    ending: Ending | None = None
    culprits: tuple[str, ...] = ()
    is_unsettled: bool = False

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """Return the reported outcomes, by signer."""
        return {task.signer: task.outcome for task in self.tasks if task.outcome is not None}


@dataclass(frozen=True, slots=True)
class SignerGroup:
    """``signers`` in order of their index, 1 to n."""

    name: str
    threshold: int
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A signer as it stands. ``free``: slots; ``load``: the part of its slots that is taken.

    ``problem``: what it says itself that it lacks, as that it is frozen. ``delivery_problems``: the
    delivery servers that it cannot meet others at, with why.
    """

    is_there: bool = True
    free: int = 1
    load: float = 0.0
    has_gate: bool = False
    problem: str | None = None
    delivery_problems: Mapping[str, str] = field(default_factory=dict)


AWAY = Member(is_there=False, free=0)


@dataclass(frozen=True, slots=True)
class SharesInUse:
    """The sets of shares that sign, by ceremony; None before the key is active.

    While a refresh comes into use, ``next_users`` have ``next_share_set_id`` in use, the others
    ``share_set_id``.
    """

    generation: int = 0
    share_set_id: UUID | None = None
    next_share_set_id: UUID | None = None
    next_users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Origin:
    """The key that a copy is made of: the group that holds it, and its shares in use."""

    group: SignerGroup
    in_use: SharesInUse


@dataclass(frozen=True, slots=True)
class Request:
    """An application's request in MPC mode, with all that its next step depends on.

    ``is_due``: its pause after a failure is over. ``is_late``: its time to be done in is over.
    ``is_blocked``: another request is changing the key's shares. ``target``: whose share is to be
    repaired. ``servers``: the delivery servers there are. ``origin``: of a copy, whose ``group`` is
    the new one.
    """

    id: UUID
    kind: JobKind
    group: SignerGroup
    in_use: SharesInUse = field(default_factory=SharesInUse)
    is_final: bool = False
    is_due: bool = True
    is_late: bool = False
    is_blocked: bool = False
    target: str | None = None
    members: Mapping[str, Member] = field(default_factory=dict)
    bans: frozenset[Pair] = frozenset()
    left_in_flight: tuple[Left, ...] = ()
    steps: tuple[Step, ...] = ()
    servers: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def open_step(self) -> Step | None:
        """Return the open step; a request has at most one."""
        return next((step for step in self.steps if step.ending is None), None)

    def member(self, signer: str) -> Member:
        return self.members.get(signer, AWAY)

    def there(self, signers: Sequence[str]) -> list[str]:
        return [signer for signer in signers if self.member(signer).is_there]

    def with_step(self, step: Step) -> "Request":
        """Return the same request with the new state of one step."""
        steps = tuple(step if each.id == step.id else each for each in self.steps)
        return replace(self, steps=steps)
