"""control-plane that ends by SIGKILL at a point of what it does for signers.

    python -m tests.faults.mpc.killing_control_plane CONFIG PLAN

PLAN is a JSON file, read at the start: ``{"kind": "GenerateKey", "at": "begun"}`` kills the process
the first time that a step of this kind comes to that point: ``planned``, before it is written;
``begun``, once it is committed; ``reported``, before a signer's outcome is recorded; ``recorded``,
before the signer is answered. A request of this kind comes to ``ending``, when its last step is
over and its end is not written. What the API adds in one transaction comes to ``added``, before it
is committed, and to ``committed``, before the application is answered: ``CopyKey``, ``ImportKey``
and ``AddWallet``.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import uvloop
from pydantic import BaseModel

from custody.control_plane.conductor import composition
from custody.control_plane.conductor.conductor import Conductor, _is_final
from custody.control_plane.conductor.judging import Judged
from custody.control_plane.conductor.tasks import Tasks
from custody.control_plane.conductor.writing import Planned, Written
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.jobs.transitions import Note
from custody.control_plane.resources import creation
from custody.control_plane.resources.creation import Creation
from custody.control_plane.resources.key_rows import NewKey
from custody.control_plane.resources.metadata import ResourceMetadata
from custody.control_plane.resources.wallets import Wallets
from custody.control_plane.serve import serve_control_plane
from custody.control_plane.settings import Settings
from custody.database.connection import Connection
from custody.runtime import log
from custody.runtime.configuration import read_settings
from custody.runtime.console import operator_errors
from custody.runtime.hardening import harden
from custody.wire.resources import Wallet

PassBy = Callable[[str, Iterable[str]], None]


class Plan(BaseModel):
    kind: str
    at: str


def put_in(plan: Plan) -> None:
    """Have the control plane that this process will be end as planned."""

    def pass_by(at: str, kinds: Iterable[str]) -> None:
        if at == plan.at and plan.kind in kinds:
            os.kill(os.getpid(), signal.SIGKILL)

    class Conducting(Conductor):
        async def _write(self, connection: Connection, to_write: Written) -> Any:
            pass_by("planned", [step.kind for step in to_write.steps])
            return await super()._write(connection, to_write)

        def _after(self, planned: list[Planned], moved: set[UUID]) -> None:
            pass_by("begun", [one.step.kind for one in planned if one.step is not None])
            pass_by("ending", [one.facts.job.kind for one in planned if _is_final(one)])
            super()._after(planned, moved)

    class Reported(Tasks):
        async def _record(self, signer: str, judged: dict[int, Judged]) -> dict[int, Note]:
            return await self._between(judged, super()._record(signer, judged))

        async def _finish_together(self, judged: dict[int, Judged]) -> dict[int, Note]:
            return await self._between(judged, super()._finish_together(judged))

        async def _between(self, judged: dict[int, Judged], recording: Any) -> dict[int, Note]:
            kinds = {one.task.kind for one in judged.values()}
            pass_by("reported", kinds)
            notes: dict[int, Note] = await recording
            pass_by("recorded", kinds)
            return notes

    put_in_api(pass_by)
    patch.object(composition, "Conductor", Conducting).start()
    patch.object(composition, "Tasks", Reported).start()


def put_in_api(pass_by: PassBy) -> None:
    """Have the API end before a transaction is committed, or once it is committed."""
    keep, add_tags = creation._keep_only_settled, ResourceMetadata.add_tags
    wake, add_wallet = Creation._wake, Wallets.add

    async def added(connection: Connection, new: list[NewKey], settled: Any) -> None:
        await keep(connection, new, settled)
        pass_by("added", [one.job.kind for one in new])

    def committed(self: Creation, new: Sequence[NewJob]) -> None:
        pass_by("committed", [job.kind for job in new])
        wake(self, new)

    async def added_wallet(*arguments: Any) -> None:
        await add_tags(*arguments)
        pass_by("added", ["AddWallet"])

    async def committed_wallet(*arguments: Any) -> tuple[Wallet, bool]:
        made = await add_wallet(*arguments)
        pass_by("committed", ["AddWallet"])
        return made

    patch.object(creation, "_keep_only_settled", added).start()
    patch.object(Creation, "_wake", committed).start()
    patch.object(ResourceMetadata, "add_tags", added_wallet).start()
    patch.object(Wallets, "add", committed_wallet).start()


def main(config: Path, plan: Path) -> None:
    harden()
    with operator_errors():
        settings = read_settings(config, Settings)
        log.configure("info")
        put_in(Plan.model_validate_json(plan.read_text()))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_control_plane(settings))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
