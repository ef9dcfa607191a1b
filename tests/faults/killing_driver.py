"""hsm-driver that ends by SIGKILL at a stage of its own, as a power cut would have it.

    python -m tests.faults.killing_driver CONFIG PLAN

PLAN is a JSON file, read at the start: ``{"stage": "committed", "nth": 3}`` kills the process when
a job has done that stage for the third time since then; without a file, nothing happens.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop
from pydantic import BaseModel

from custody.node.loop import Stage
from custody.runtime import log
from custody.runtime.configuration import read_settings
from custody.runtime.console import operator_errors
from custody.runtime.hardening import harden
from hsm_driver import driver
from hsm_driver.settings import DriverSettings


class Plan(BaseModel):
    stage: Stage
    nth: int


class Killer:
    """Counts a stage, and ends the process with the last of them."""

    def __init__(self, plan: Plan | None) -> None:
        self._stage = plan.stage if plan else None
        self._left = plan.nth if plan else 0

    def __call__(self, stage: Stage) -> None:
        if stage is self._stage:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main(config: Path, plan: Path) -> None:
    harden()
    with operator_errors():
        settings = read_settings(config, DriverSettings)
        log.configure(settings.log.level)
        killer = Killer(Plan.model_validate_json(plan.read_text()) if plan.exists() else None)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(driver.run_driver(settings, on_stage=killer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
