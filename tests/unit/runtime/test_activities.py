"""An activity that fails is begun again: it ends neither the process nor the other activities."""

import asyncio
import os
import signal

import pytest
from structlog.testing import capture_logs

from custody.node.node import _until_signalled
from custody.runtime import activities
from custody.runtime.activities import keep_going


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities, "FIRST_PAUSE", 0.01)


class Fragile:
    """Fails twice with errors that nobody expected, then returns."""

    def __init__(self) -> None:
        self.begun = 0

    async def run(self) -> None:
        self.begun += 1
        if self.begun <= 2:
            raise OverflowError("date value out of range")


async def test_an_activity_that_raises_is_logged_and_begun_again():
    fragile = Fragile()
    with capture_logs() as logs:
        await keep_going("compare", fragile.run)
    assert fragile.begun == 3
    assert [(each["log_level"], each["activity"]) for each in logs] == [("error", "compare")] * 2


async def test_an_activity_is_cancelled_as_ever():
    running = asyncio.create_task(keep_going("rest", lambda: asyncio.sleep(60)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_node_outlives_an_activity_that_fails():
    fragile, recovered = Fragile(), asyncio.Event()

    async def recover() -> None:
        await fragile.run()
        recovered.set()

    async def stop() -> None:
        await recovered.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(10):
        await _until_signalled(recover, stop)
    assert fragile.begun == 3
