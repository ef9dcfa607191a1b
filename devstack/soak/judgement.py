"""The judgement of a soak run: what grew, and what became of each request. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from statistics import median

SIGNED = "Signed"
FINAL = frozenset({SIGNED, "Failed", "Rejected"})
EXPLAINED = frozenset({"expired"})
"""Codes of failed requests that a fault explains: nobody could do the request in its time."""


@dataclass(frozen=True)
class Sample:
    """A measured value, ``at`` seconds after the start of the run."""

    at: float
    value: float


@dataclass(frozen=True)
class Bound:
    """The growth that is allowed: a factor, or an amount, whichever allows more."""

    factor: float
    amount: float

    def allows(self, before: float, after: float) -> bool:
        return after <= max(before * self.factor, before + self.amount)

    def times(self, factor: float) -> "Bound":
        """Return a bound that allows so many times the growth to the values of before."""
        return Bound(self.factor * factor, self.amount * factor)


MEMORY = Bound(1.2, 16 * 2**20)
"""Bytes. The pools and caches of a daemon fill in the first minutes."""
DESCRIPTORS = Bound(1.1, 8)
LATENCY = Bound(1.5, 0.02)
"""Seconds, on a machine that stays as fast as it was."""
PROCESSOR = Bound(1.3, 0.1)
"""Cores in use."""
WORK = Bound(inf, 0.0)
"""The machine's own speed is nothing that the daemons can help."""


@dataclass(frozen=True)
class Growth:
    """The medians of the first and of the last third of a run. None: a third has no sample."""

    name: str
    first: float | None
    last: float | None
    is_flat: bool

    @property
    def slowdown(self) -> float:
        """Return how many times larger the last third is; 1.0 if it is not."""
        return max(1.0, self.last / self.first) if self.first and self.last else 1.0


def growth(name: str, samples: Sequence[Sample], seconds: float, bound: Bound) -> Growth:
    """Compare the last third of a run with the first. A third without samples is not flat."""
    first = _median(samples, lambda at: at < seconds / 3)
    last = _median(samples, lambda at: at >= seconds * 2 / 3)
    is_flat = first is not None and last is not None and bound.allows(first, last)
    return Growth(name, first, last, is_flat)


def _median(samples: Sequence[Sample], is_in: Callable[[float], bool]) -> float | None:
    values = [sample.value for sample in samples if is_in(sample.at)]
    return median(values) if values else None


class Told(StrEnum):
    """What the application was told of a request."""

    SIGNED = "signed, and verified"
    ENDED = "ended without a signature"
    NOT_VERIFIED = "signed, but the signature does not verify"
    ACCEPTED = "accepted, and not final yet"
    NOTHING = "no answer"


@dataclass(frozen=True)
class Stored:
    """A request as the API lists it at the end.

    ``verified``: a signature is valid, and the same that the application was told before.
    """

    external_id: str | None
    status: str
    code: str | None = None
    verified: bool = True


@dataclass(frozen=True)
class Account:
    """What became of the requests. ``problems`` has a line for each request that is not right."""

    sent: int
    signed: int
    failed: Mapping[str, int]
    never_accepted: int
    problems: list[str] = field(default_factory=list)


def account(told: Mapping[str, Told], stored: Iterable[Stored]) -> Account:
    """Compare all sent requests, by external id, with the stored ones.

    A request without an answer may be absent: then nobody accepted it. Each other request must be
    there once, and either Signed with a valid signature or failed with a code that is explained.
    """
    found = list(stored)
    problems = []
    times = Counter(one.external_id for one in found)
    signed: set[str | None] = set()
    failed: Counter[str] = Counter()
    for one in found:
        if one.external_id not in told:
            problems.append(f"{one.external_id}: nobody sent it")
        elif one.status not in FINAL:
            problems.append(f"{one.external_id}: still {one.status}")
        elif one.status == SIGNED:
            signed.add(one.external_id)
            if not one.verified:
                problems.append(
                    f"{one.external_id}: its signature does not verify, or is another one now"
                )
        else:
            failed[one.code or "no code"] += 1
            if one.code not in EXPLAINED:
                problems.append(f"{one.external_id}: {one.status}, {one.code or 'no code'}")
    problems += [f"{name}: stored {count} times" for name, count in times.items() if count > 1]
    for name, answer in told.items():
        if answer is Told.NOT_VERIFIED:
            problems.append(f"{name}: {answer}")
        elif answer is not Told.NOTHING and name not in times:
            problems.append(f"{name}: lost, after the answer: {answer}")
        elif answer is Told.SIGNED and name not in signed:
            problems.append(f"{name}: was signed, and is not any more")
    return Account(
        sent=len(told),
        signed=len(signed),
        failed=dict(failed),
        never_accepted=sum(
            name not in times for name, answer in told.items() if answer is Told.NOTHING
        ),
        problems=problems,
    )
