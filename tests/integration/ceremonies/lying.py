"""Signers that lie: what one of them sends instead of what its protocol tells it to.

A liar has everything of a signer: its identity, its share, its place in the ceremony. So what it
sends is signed and sealed as it should be, unless the lie is about that.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

import mpc.ceremonies.ceremony
from custody.wire.delivery import DeliveryTicket
from custody.wire.signed_bytes import SignedBytes
from custody.wire.tickets import Ticket
from mpc.ceremonies.envelopes import CeremonyChannel
from tests.integration.ceremonies.parties import Party
from tests.unit.mpc.native.lies import Change

Words = Callable[[str, bytes, bytes], tuple[bytes, bytes]]
"""(recipient, broadcast, private) -> what is sealed for that recipient instead."""
Envelope = Callable[[str, bytes], bytes]
"""(recipient, message) -> what is handed in for that recipient instead."""


@dataclass
class Lie:
    """``exchange`` 0 is the hello, whose broadcast is FROST's first when it signs.

    ``index``: pretend to be that participant, within a message that is signed truly.
    """

    exchange: int
    words: Words | None = None
    envelope: Envelope | None = None
    index: int | None = None
    other_hello: bool = False
    """Tell the last participant another hello, as whole and as signed as the first."""
    is_silent: bool = False
    """Hand in nothing, and end nothing either."""
    told: set[str] = field(default_factory=set)
    """The signers that got the lie, so that a test knows that they did."""


def changed(part: str, change: Change, only_to: str | None = None) -> Words:
    """A change of the broadcast or of the private message."""

    def words(recipient: str, broadcast: bytes, private: bytes) -> tuple[bytes, bytes]:
        if only_to not in (None, recipient):
            return broadcast, private
        if part == "broadcast":
            return change(broadcast), private
        return broadcast, change(private)

    return words


class LyingChannel(CeremonyChannel):
    """A channel that puts the lie in place of the truth."""

    def __init__(self, lie: Lie, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lie = lie
        self._arguments = arguments
        self._bans: tuple[SignedBytes, ...] = ()
        self._opening = b""

    def hello(self, bans: Any, opening: bytes = b"") -> bytes:
        if self._lie.exchange == 0 and self._lie.words is not None:
            opening, _ = self._lie.words(self._others[-1], opening, b"")
            self._lie.told.update(self._others)
        self._bans, self._opening = tuple(bans), opening
        return super().hello(bans, opening)

    def another_hello(self) -> bytes:
        return CeremonyChannel(*self._arguments).hello(self._bans, self._opening)

    def seal(self, number: int, broadcast: bytes, private: Mapping[str, bytes]) -> dict[str, bytes]:
        sealed = super().seal(number, broadcast, private)
        if number == self._lie.exchange and self._lie.words is not None:
            # what it has told all alike, it does not contradict later
            said = {self._lie.words(name, broadcast, b"")[0] for name in self._others}
            self._broadcast = said.pop() if len(said) == 1 else broadcast
        return sealed

    def _seal(self, number: int, recipient: str, broadcast: bytes, private: bytes) -> bytes:
        lie = self._lie
        if number == lie.exchange and lie.words is not None:
            said = lie.words(recipient, broadcast, private)
            if said != (broadcast, private):
                lie.told.add(recipient)
            broadcast, private = said
        return super()._seal(number, recipient, broadcast, private)

    def _header(self, number: int, sender: str, recipient: str) -> bytes:
        lie = self._lie
        if lie.index is None or number != lie.exchange or sender != self._me:
            return super()._header(number, sender, recipient)
        lie.told.add(recipient)
        truth = self._index[sender]
        self._index[sender] = lie.index
        try:
            return super()._header(number, sender, recipient)
        finally:
            self._index[sender] = truth


class Liars:
    """Who lies, from now on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._lies: dict[str, Lie] = {}
        self._channels: dict[UUID, LyingChannel] = {}
        self._are_heard: set[str] = set()
        patch.setattr(mpc.ceremonies.ceremony, "CeremonyChannel", self._channel)

    def lies(self, party: Party, lie: Lie) -> Lie:
        """Instead of what it told before."""
        self._lies[party.name] = lie
        if party.name not in self._are_heard:
            self._are_heard.add(party.name)
            self._hear(party)
        return lie

    def tells_the_truth(self, party: Party) -> None:
        self._lies[party.name] = Lie(exchange=-1)

    def _channel(self, ticket: Ticket, digest: bytes, me: str, *more: Any) -> CeremonyChannel:
        if me not in self._lies:
            return CeremonyChannel(ticket, digest, me, *more)
        channel = LyingChannel(self._lies[me], ticket, digest, me, *more)
        self._channels[ticket.meeting] = channel
        return channel

    def _hear(self, party: Party) -> None:
        hand_in, abort = party.delivery.exchange, party.delivery.abort

        async def exchange(
            server: str, ticket: SignedBytes, number: int, outgoing: Mapping[str, bytes], *more: Any
        ) -> dict[str, bytes]:
            lie, said = self._lies[party.name], dict(outgoing)
            if number != lie.exchange:
                return await hand_in(server, ticket, number, said, *more)
            if lie.is_silent:
                lie.told.update(said)
                await asyncio.Event().wait()
            if lie.other_hello:
                meeting = DeliveryTicket.model_validate_json(ticket.payload).meeting
                lie.told.add(max(said))
                said[max(said)] = self._channels[meeting].another_hello()
            if lie.envelope is not None:
                said = {name: lie.envelope(name, message) for name, message in said.items()}
                lie.told.update(said)
            return await hand_in(server, ticket, number, said, *more)

        async def end(*arguments: Any) -> None:
            if not self._lies[party.name].is_silent:
                await abort(*arguments)

        self._patch.setattr(party.delivery, "exchange", exchange)
        self._patch.setattr(party.delivery, "abort", end)
