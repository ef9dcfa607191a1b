"""One ceremony's messages, from hand-in until the recipients have them."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from custody.delivery.budget import Budget
from custody.delivery.problems import NotDelivered, not_delivered
from custody.wire.delivery import DeliveryCode, DeliveryProblem
from custody.wire.framing import Domain, tagged_hash


class Exchange:
    """The messages of one exchange. ``settled``: all have arrived, or the session has ended."""

    def __init__(self, participants: tuple[str, ...]) -> None:
        self.digests: dict[str, bytes] = {}
        self.messages: dict[str, dict[str, bytes]] = {name: {} for name in participants}
        """Recipient -> sender -> message."""
        self.settled = asyncio.Event()

    def is_complete(self) -> bool:
        return len(self.digests) == len(self.messages)


class Session:
    """One ceremony. At each exchange, every participant hands in, then waits for all others.

    A participant that hands in at the next exchange has received the messages of this exchange. The
    session then drops these messages, so it never holds messages of more than two exchanges.
    """

    def __init__(
        self,
        participants: tuple[str, ...],
        ticket_digest: bytes,
        expires_at: datetime,
        opened_by: str,
        budget: Budget,
        *,
        message_bytes: int,
        session_bytes: int,
    ) -> None:
        """``message_bytes``: limit for one message; ``session_bytes``: for all held messages."""
        self.participants = participants
        self.ticket_digest = ticket_digest
        self.expires_at = expires_at
        self.opened_by = opened_by
        self.message_bytes = message_bytes
        self.last_hand_in = 0.0
        """On the event loop's clock."""
        self._budget = budget
        self._session_bytes = session_bytes
        self._held = 0
        self._reached = dict.fromkeys(participants, -1)
        self._exchanges: dict[int, Exchange] = {}
        self._end: DeliveryProblem | None = None

    def hand_in(self, sender: str, number: int, messages: Mapping[str, bytes]) -> None:
        """Take a participant's messages. A repetition of the same messages changes nothing.

        The caller has reserved their bytes in the budget. After success the session releases these
        bytes once it drops the messages.
        Raise NotDelivered.
        """
        others = [name for name in self.participants if name != sender]
        if messages.keys() != set(others):
            raise not_delivered(
                DeliveryCode.MALFORMED,
                "the hand-in must have one message for each other participant",
            )
        if any(len(message) > self.message_bytes for message in messages.values()):
            raise not_delivered(
                DeliveryCode.TOO_LARGE, f"a message has more than {self.message_bytes} bytes"
            )
        digest = tagged_hash(Domain.HAND_IN, *(messages[name] for name in others))
        size = sum(map(len, messages.values()))
        if number == self._reached[sender]:
            self._require_same(number, sender, digest)
            self._budget.release(sender, size)
            return
        self._require_open()
        self._require_due(sender, number)
        if self._held + size > self._session_bytes:
            raise not_delivered(
                DeliveryCode.BUSY,
                f"this server holds {self._held} bytes of the ceremony already; {size} more would "
                f"exceed the limit of {self._session_bytes}",
            )
        self._drop(number - 1, sender)
        self._reached[sender] = number
        self._held += size
        exchange = self._exchanges.setdefault(number, Exchange(self.participants))
        exchange.digests[sender] = digest
        for recipient, message in messages.items():
            exchange.messages[recipient][sender] = message
        if exchange.is_complete():
            self._exchanges.pop(number - 1, None)
            exchange.settled.set()

    async def collect(self, recipient: str, number: int) -> dict[str, bytes]:
        """Return the others' messages by sender once all have arrived. Raise NotDelivered."""
        exchange = self._exchanges[number]
        await exchange.settled.wait()
        if not exchange.is_complete():
            self._require_open()
        return exchange.messages[recipient]

    def end(self, problem: DeliveryProblem) -> None:
        """Answer every waiting and later request with ``problem``. Only the first call counts.

        Participants can still collect an exchange that was complete before.
        """
        if self._end is not None:
            return
        self._end = problem
        for number, exchange in self._exchanges.items():
            if not exchange.is_complete():
                for recipient in self.participants:
                    self._drop(number, recipient)
                exchange.settled.set()

    @property
    def has_ended(self) -> bool:
        return self._end is not None

    @property
    def has_met(self) -> bool:
        """Return whether every participant has handed in a hello."""
        return min(self._reached.values()) >= 0

    def silent(self) -> list[str]:
        """Return the signers that are behind the signer with the most hand-ins."""
        furthest = max(self._reached.values())
        return [name for name, reached in self._reached.items() if reached < furthest]

    def forget(self) -> None:
        """Release all held messages."""
        for number in list(self._exchanges):
            for recipient in self.participants:
                self._drop(number, recipient)
        self._exchanges.clear()

    def _require_same(self, number: int, sender: str, digest: bytes) -> None:
        if self._exchanges[number].digests.get(sender) != digest:
            raise not_delivered(
                DeliveryCode.CONFLICT,
                f"{sender} has handed in other messages at exchange {number} before",
            )

    def _require_open(self) -> None:
        if self._end is not None:
            raise NotDelivered(self._end)

    def _require_due(self, sender: str, number: int) -> None:
        reached = self._reached[sender]
        is_next = number == reached + 1
        if not is_next or (reached >= 0 and not self._exchanges[reached].is_complete()):
            raise not_delivered(
                DeliveryCode.CONFLICT, f"exchange {number} is not due: {sender} is at {reached}"
            )

    def _drop(self, number: int, recipient: str) -> None:
        exchange = self._exchanges.get(number)
        if exchange is None:
            return
        for sender, message in exchange.messages[recipient].items():
            self._held -= len(message)
            self._budget.release(sender, len(message))
        exchange.messages[recipient] = {}
