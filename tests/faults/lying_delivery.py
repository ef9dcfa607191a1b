"""A delivery server that lies: it drops, replays, reorders, swaps and changes what it delivers.

    python -m tests.faults.lying_delivery CONFIG LIE

It is real in everything but its intentions. LIE is a JSON file, read at each answer, so that a test
can change its mind while it runs; without a file, it is honest. Each lie that was told is a line of
the file LIE.told.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import uvloop
from pydantic import BaseModel

from custody.delivery import server
from custody.delivery.session import Session
from custody.delivery.settings import load_settings
from custody.runtime import log
from custody.runtime.console import operator_errors
from custody.runtime.hardening import harden
from devstack.delivery import DeliveryServer
from devstack.launcher import Launcher
from devstack.processes import Program
from devstack.service import clean_environment

Answer = dict[str, bytes]


class LieKind(StrEnum):
    SILENCE = "silence"
    """No answer, ever."""
    DROP = "drop"
    """A sender's message is left out."""
    EMPTY = "empty"
    """A sender's message is there, without content."""
    STRANGER = "stranger"
    """Somebody who does not take part has sent something, too."""
    REPLAY = "replay"
    """The messages of the exchange before; at exchange 0 as MIX."""
    MIX = "mix"
    """The messages of the same exchange in the ceremony before."""
    REORDER = "reorder"
    """The last sender comes first: no lie that matters."""
    SWAP = "swap"
    """Each message comes under the name of another sender; with one sender, its own comes back."""
    MISDELIVER = "misdeliver"
    """What the senders have for another recipient."""
    CHANGE = "change"
    """One bit of one message, in its middle."""
    TRUNCATE = "truncate"
    """A message ends early."""
    GARBAGE = "garbage"
    """Random bytes of the right size."""


class Lie(BaseModel):
    """``exchange``: the one to lie at; None: each. ``victim``: the signer to lie to; None: all."""

    kind: LieKind
    exchange: int | None = None
    victim: str | None = None


class Liar:
    """Distorts answers, as the file says at that moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = told_file(path)
        self._now: dict[str, bytes] = {}
        self._seen: dict[str, dict[int, Answer]] = {}
        """Recipient -> exchange -> what it was to get, in the ceremony that it takes part in."""
        self._before: dict[str, dict[int, Answer]] = {}
        """The same of the ceremony before."""

    async def distort(
        self, session: Session, recipient: str, number: int, honest: Answer
    ) -> Answer:
        self._remember(session, recipient, number, honest)
        lie = self._lie(recipient, number)
        if lie is None:
            return honest
        with self._told.open("a") as told:
            told.write(f"{lie.kind.value} {recipient} {number}\n")
        return await self._lied(lie.kind, session, recipient, number, honest)

    def _lie(self, recipient: str, number: int) -> Lie | None:
        try:
            lie = Lie.model_validate_json(self._path.read_text())
        except FileNotFoundError:
            return None
        is_meant = lie.exchange in (None, number) and lie.victim in (None, recipient)
        return lie if is_meant else None

    async def _lied(
        self, kind: LieKind, session: Session, recipient: str, number: int, honest: Answer
    ) -> Answer:
        first = next(iter(honest))
        match kind:
            case LieKind.SILENCE:
                await asyncio.Event().wait()
                return honest
            case LieKind.DROP:
                return {name: message for name, message in honest.items() if name != first}
            case LieKind.EMPTY:
                return honest | {first: b""}
            case LieKind.STRANGER:
                return honest | {"stranger": honest[first]}
            case LieKind.REPLAY:
                earlier = self._seen[recipient].get(number - 1)
                return self._other(recipient, number) if earlier is None else earlier
            case LieKind.MIX:
                return self._other(recipient, number)
            case LieKind.REORDER:
                return dict(reversed(honest.items()))
            case LieKind.SWAP:
                return _swapped(honest, _own(session, recipient, number))
            case LieKind.MISDELIVER:
                return _misdelivered(session, recipient, number, honest)
            case LieKind.CHANGE:
                return honest | {first: _changed(honest[first])}
            case LieKind.TRUNCATE:
                return honest | {first: honest[first][:-1]}
            case LieKind.GARBAGE:
                return honest | {first: os.urandom(len(honest[first]))}

    def _remember(self, session: Session, recipient: str, number: int, honest: Answer) -> None:
        ceremony = session.ticket_digest
        if self._now.get(recipient) != ceremony:
            self._now[recipient] = ceremony
            self._before[recipient] = self._seen.get(recipient, {})
            self._seen[recipient] = {}
        self._seen[recipient][number] = honest

    def _other(self, recipient: str, number: int) -> Answer:
        """What the ceremony before this one had: nothing, if there was none."""
        return self._before.get(recipient, {}).get(number, {})


def _own(session: Session, recipient: str, number: int) -> bytes:
    """A message that the recipient itself has handed in."""
    for messages in session._exchanges[number].messages.values():
        if recipient in messages:
            return messages[recipient]
    return b""


def _swapped(honest: Mapping[str, bytes], own: bytes) -> Answer:
    names = list(honest)
    if len(names) == 1:
        return {names[0]: own}
    return {name: honest[other] for name, other in zip(names, names[1:] + names[:1], strict=True)}


def _misdelivered(session: Session, recipient: str, number: int, honest: Answer) -> Answer:
    answer = dict(honest)
    for other, messages in session._exchanges[number].messages.items():
        if other != recipient:
            answer |= {name: message for name, message in messages.items() if name in honest}
    return answer


def _changed(message: bytes) -> bytes:
    middle = len(message) // 2
    return message[:middle] + bytes([message[middle] ^ 1]) + message[middle + 1 :]


def told_file(lie: Path) -> Path:
    return lie.with_suffix(".told")


class LyingDelivery(DeliveryServer):
    """A delivery server that is honest until it is told to lie."""

    def __init__(self, name: str, folder: Path, log: Path, launcher: Launcher) -> None:
        super().__init__(name, folder, log, launcher)
        self._lie = folder / "lie.json"

    def program(self) -> Program:
        module: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.faults.lying_delivery",
            self.config,
        ]
        return Program(self.name, [*module, self._lie], Path.cwd(), self.log, clean_environment())

    def lie(self, kind: LieKind, exchange: int | None = None, victim: str | None = None) -> None:
        """Lie from now on: at one exchange or each, to one signer or all."""
        text = Lie(kind=kind, exchange=exchange, victim=victim).model_dump_json()
        temporary = self._lie.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self._lie)

    def be_honest(self) -> None:
        """Lie no more."""
        self._lie.unlink(missing_ok=True)

    def told(self) -> list[str]:
        """The lies so far: kind, recipient and exchange of each."""
        path = told_file(self._lie)
        return path.read_text().splitlines() if path.exists() else []


def main(config: Path, lie: Path) -> None:
    harden()
    liar = Liar(lie)
    collect = Session.collect

    async def distorted(session: Session, recipient: str, number: int) -> Answer:
        honest = await collect(session, recipient, number)
        return await liar.distort(session, recipient, number, honest)

    setattr(Session, "collect", distorted)  # noqa: B010  # whatever its type says
    with operator_errors():
        settings = load_settings(config)
        log.configure(settings.log.level)
        uvloop.run(server.run_delivery_server(settings))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
