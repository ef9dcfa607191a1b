"""Activities: a daemon's background work, beside its requests or jobs."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()

Activity = Callable[[], Coroutine[Any, Any, None]]

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


async def keep_going(name: str, activity: Activity) -> None:
    """Run an activity until it returns. After an error, log the error, pause, and run it again.

    An unexpected error in one activity must not end the process. The process would end
    again after each restart, and each end may interrupt jobs. The pause doubles
    from FIRST_PAUSE to LONGEST_PAUSE seconds, and starts over once the activity ran that long.
    """
    clock = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        began = clock.time()
        try:
            return await activity()
        except Exception:
            if clock.time() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            log.exception("activity failed, beginning it again", activity=name, seconds=pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
