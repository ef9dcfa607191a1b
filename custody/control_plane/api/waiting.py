"""Long polls: held open until the request is final, woken by event."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar
from uuid import UUID

from custody.control_plane.jobs.notifications import Notifications, Waiter
from custody.database.causes import DATABASE_ERRORS, is_transient

MAX_WAIT = 60.0


class Status(Protocol):
    @property
    def is_final(self) -> bool: ...


class HasStatus(Protocol):
    @property
    def status(self) -> Status: ...


Thing = TypeVar("Thing", bound=HasStatus)
Read = Callable[[], Awaitable[Thing]]


async def until_final(
    notifications: Notifications, waiter: Waiter, found: Thing, read: Read[Thing], seconds: float
) -> Thing:
    """Return the thing once it is final, or as last seen when the time is over.

    The waiter was registered before ``found`` was. While the database is away, the call
    continues to wait: the request is stored, and an error would make an application repeat it.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while not found.status.is_final and not notifications.closed:
        left = deadline - clock()
        if left <= 0:
            break
        await waiter.wait(left)
        try:
            found = await read()
        except DATABASE_ERRORS as error:
            if not is_transient(error):
                raise
    return found


async def wait_for(
    notifications: Notifications, job_id: UUID, read: Read[Thing], seconds: float
) -> Thing:
    """Read a thing again and again until its job is final or the time is over."""
    with notifications.done(job_id) as waiter:
        return await until_final(notifications, waiter, await read(), read, seconds)
