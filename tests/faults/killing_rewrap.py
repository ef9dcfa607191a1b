"""hsm-driver master-key rewrap that ends by SIGKILL at a stage of its own.

python -m tests.faults.killing_rewrap CONFIG STAGE NTH
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from custody.runtime.configuration import read_settings
from custody.runtime.console import operator_errors
from hsm_driver.rewrap import Stage
from hsm_driver.rewrap_command import Wanted, rewrap_keys
from hsm_driver.settings import DriverSettings

RATE = 3.0
"""Small batches: a kill leaves keys for the next command."""


def main(config: Path, stage: Stage, nth: int) -> None:
    left = nth

    def kill(passed: Stage) -> None:
        nonlocal left
        left -= passed is stage
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with operator_errors():
        settings = read_settings(config, DriverSettings)
        asyncio.run(rewrap_keys(settings, Wanted(rate=RATE), lambda _: None, kill))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Stage(sys.argv[2]), int(sys.argv[3]))
