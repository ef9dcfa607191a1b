"""Waiting in tests: for a state, by asking again and again, and not for a time that may do."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

SECONDS = 60.0
"""How long a state may take on a busy machine. A test that passes never waits as long."""
PAUSE = 0.02


async def until(holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return what ``holds`` returns, once that is true; it may be a coroutine function.

    Raises TimeoutError.
    """
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(PAUSE)


def wait_until(holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return what ``holds`` returns, once that is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"it took more than {seconds:.0f} s")
        time.sleep(PAUSE)
    return found
