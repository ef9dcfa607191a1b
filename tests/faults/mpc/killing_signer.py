"""mpc-signer that ends by SIGKILL at a point of a ceremony, or of what is to be committed after it.

    python -m tests.faults.mpc.killing_signer CONFIG PLAN

PLAN is a JSON file, read at the start: ``{"kind": "GenerateKey", "at": "seal 2"}`` kills the
process the first time that a job of this kind comes to that point. Points are ``hello 0``,
``seal N`` and ``open N`` for exchange N, ``phase 2`` of ECDSA signing, and what a job comes to
after it was handled: ``handled``, ``committed``, ``reported``.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvloop
from pydantic import BaseModel

from custody.node.handlers import Handled, Handler, Work
from custody.node.loop import Stage
from custody.runtime import log
from custody.runtime.configuration import read_settings
from custody.runtime.console import operator_errors
from custody.runtime.hardening import harden
from mpc import signer
from mpc.bans.ban_locks import BanLocks
from mpc.ceremonies import ceremony
from mpc.ceremonies.envelopes import CeremonyChannel
from mpc.settings import SignerSettings

EXCHANGES = "hello 0", "seal 1", "seal 2", "seal 3", "open 3"
"""Of FROST's DKG and refresh; before each, the others wait for this signer in vain."""
COMMIT = "handled", "committed"
"""A job that was committed is reported after the next start, and does not come by here again."""


class Plan(BaseModel):
    kind: str
    at: str


class Killer:
    """Knows which kind of job was begun last: tests give a signer one at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kind = ""

    def begin(self, kind: str) -> None:
        self._kind = kind

    def pass_by(self, point: str) -> None:
        if (self._kind, point) == (self._plan.kind, self._plan.at):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_stage(self, stage: Stage) -> None:
        self.pass_by(stage.value)


class Watched:
    """A handler that says what it begins."""

    def __init__(self, handler: Handler, killer: Killer) -> None:
        self._handler = handler
        self._killer = killer
        self.carries_request = handler.carries_request
        self.asks_gate = handler.asks_gate

    async def handle(self, work: Work) -> Handled:
        self._killer.begin(work.job.kind)
        return await self._handler.handle(work)


def put_in(killer: Killer) -> None:
    """Have the signer that this process will be pass by the killer."""

    class Channel(CeremonyChannel):
        def _take_turn(self, turn: str, number: int, then: tuple[str, int]) -> None:
            killer.pass_by(f"{turn} {number}")
            super()._take_turn(turn, number, then)

    class Locks(BanLocks):
        @asynccontextmanager
        async def hold(self, *arguments: Any) -> AsyncIterator[None]:
            async with super().hold(*arguments):
                killer.pass_by("phase 2")
                yield

    make = signer.handlers

    def handlers(*arguments: Any) -> dict[str, Handler]:
        return {kind: Watched(handler, killer) for kind, handler in make(*arguments).items()}

    patch.object(ceremony, "CeremonyChannel", Channel).start()
    patch.object(signer, "BanLocks", Locks).start()
    patch.object(signer, "handlers", handlers).start()


def main(config: Path, plan: Path) -> None:
    harden()
    with operator_errors():
        settings = read_settings(config, SignerSettings)
        log.configure(settings.log.level)
        killer = Killer(Plan.model_validate_json(plan.read_text()))
        put_in(killer)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(signer.run_signer(settings, on_stage=killer.on_stage))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
