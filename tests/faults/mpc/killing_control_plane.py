"""control-plane that ends by SIGKILL at a point of what it does for signers.

    python -m tests.faults.mpc.killing_control_plane CONFIG PLAN

PLAN is a JSON file, read at the start: ``{"kind": "GenerateKey", "at": "begun"}`` kills the process
the first time that a step of this kind comes to that point: ``planned``, before it is written;
``begun``, once it is committed; ``reported``, before a signer's outcome is recorded; ``recorded``,
before the signer is answered.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import uvloop
from pydantic import BaseModel

from custody.control_plane.conductor import composition
from custody.control_plane.conductor.conductor import Conductor
from custody.control_plane.conductor.judging import Judged
from custody.control_plane.conductor.tasks import Tasks
from custody.control_plane.conductor.writing import Planned, Written
from custody.control_plane.jobs.transitions import Note
from custody.control_plane.serve import serve_control_plane
from custody.control_plane.settings import Settings
from custody.database.connection import Connection
from custody.runtime import log
from custody.runtime.configuration import read_settings
from custody.runtime.console import operator_errors
from custody.runtime.hardening import harden


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

    patch.object(composition, "Conductor", Conducting).start()
    patch.object(composition, "Tasks", Reported).start()


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
