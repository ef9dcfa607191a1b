"""What a handler of one job kind is. The loop knows this, and no kind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from custody.wire.delivery import DeliveryTicket
from custody.wire.envelope import SignedBytes
from custody.wire.jobs import Job
from custody.wire.outcomes import Result
from custody.wire.tickets import Ticket

NO_END = datetime.max.replace(tzinfo=UTC)


def _wanted() -> None:
    """Of work that nobody has put a limit to."""


@dataclass(frozen=True)
class Work:
    """An authentic job. ``digest``: SHA-256 of its signed payload.

    ``ticket``: of the ceremony to do it in, with the bytes that were signed; signers only.
    ``delivery_ticket``: what the delivery server is shown instead, with the bytes that were signed.
    ``not_after``: when its time is over, by this host's clock. ``require_wanted``, to be called
    right before something that cannot be taken back, raises Denied or Failed once nothing is to
    be made of the job any more.
    """

    job: Job
    digest: bytes
    ticket: Ticket | None = None
    signed_ticket: SignedBytes | None = None
    delivery_ticket: DeliveryTicket | None = None
    signed_delivery_ticket: SignedBytes | None = None
    not_after: datetime = NO_END
    require_wanted: Callable[[], None] = field(default=_wanted, compare=False)
    signed_by: bytes | None = None
    """Public key of the application whose signature of the request was verified here."""


@dataclass(frozen=True)
class NewRow:
    """A row to insert: values of one row, for a statement that takes an array of each."""

    statement: str
    values: dict[str, Any]
    after: Callable[[], None] | None = None
    """Called once the row is committed, as to forget what it takes the place of."""


@dataclass(frozen=True)
class Handled:
    """A result, the rows that must be committed with it, and what the audit says of it."""

    result: Result
    audit: dict[str, str | None]
    rows: list[NewRow] = field(default_factory=list)


class Handler(Protocol):
    """The locks are open when it is called (custody/node/locks.py)."""

    @property
    def carries_request(self) -> bool:
        """Whether the job does what an application asked for, which must have signed that."""
        ...

    @property
    def asks_gate(self) -> bool:
        """Whether the owner's validation gate decides about the job."""
        ...

    async def handle(self, work: Work) -> Handled:
        """Do the job. Raises Denied or Failed; anything else counts as a failure of ours."""
        ...
