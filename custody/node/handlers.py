"""The interface of a job kind's handler. The loop knows this interface and no kind."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from custody.wire.delivery import DeliveryTicket
from custody.wire.jobs import Job
from custody.wire.outcomes import Result
from custody.wire.signed_bytes import SignedBytes
from custody.wire.tickets import Ticket

NO_END = datetime.max.replace(tzinfo=UTC)


def _wanted() -> None:
    """Raise nothing: this work has no time limit."""


async def _unarchived() -> None:
    """Raise nothing: this work may be done with an archived key."""


@dataclass(frozen=True)
class Work:
    """An authentic job. ``digest``: SHA-256 of its signed payload.

    ``ticket``: the ceremony's ticket with its signed bytes; signers only. ``delivery_ticket``: the
    ticket for the delivery server, with its signed bytes. ``not_after``: the end of the job's time
    by this host's clock. Call ``require_wanted`` right before an irreversible step: it raises
    Denied or Failed if the job must not be done any more. Await ``require_unarchived`` right before
    a message leaves that lets others make a signature: it raises Denied if the key was archived
    meanwhile.
    """

    job: Job
    digest: bytes
    ticket: Ticket | None = None
    signed_ticket: SignedBytes | None = None
    delivery_ticket: DeliveryTicket | None = None
    signed_delivery_ticket: SignedBytes | None = None
    not_after: datetime = NO_END
    require_wanted: Callable[[], None] = field(default=_wanted, compare=False)
    require_unarchived: Callable[[], Awaitable[None]] = field(default=_unarchived, compare=False)
    signed_by: bytes | None = None
    """Public key of the application whose signature of the request was verified here."""


@dataclass(frozen=True)
class RowChange:
    """A row to insert or to change. ``sql`` takes an array for each of the ``values``."""

    sql: str
    values: dict[str, Any]
    after: Callable[[], None] | None = None
    """Called after the commit of the row, for example to forget the row that it replaces."""

    @property
    def alone(self) -> dict[str, list[Any]]:
        """Return the values as ``sql`` takes them for this row alone."""
        return {name: [value] for name, value in self.values.items()}


@dataclass(frozen=True)
class Handled:
    """A result, the rows that are committed with it, and its details for the audit."""

    result: Result
    audit: dict[str, str | None]
    rows: list[RowChange] = field(default_factory=list)


class Handler(Protocol):
    """Does jobs of one kind. The loop has passed the locks before (custody/node/locks.py)."""

    @property
    def carries_request(self) -> bool:
        """Return True if the job does an application's request: its signature can be required."""
        ...

    @property
    def asks_gate(self) -> bool:
        """Return True if the owner's validation gate decides about the job."""
        ...

    async def handle(self, work: Work) -> Handled:
        """Do the job. Raise Denied or Failed; another exception counts as an internal failure."""
        ...
