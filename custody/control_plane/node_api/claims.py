"""Claiming: jobs at once, or as soon as there are some while the node waits.

A driver claims the jobs of its group, a signer its own tasks.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

from fastapi import Request

from custody.control_plane.conductor.tasks import Tasks
from custody.control_plane.jobs.notifications import Notifications, Waiter
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.node_api.authorisation import RegisteredNode
from custody.control_plane.problems import Code, ProblemError
from custody.wire.node_api import ClaimedJob, ClaimRequest

MAX_CLAIMS_OF_NODE = 32
"""At once. A node has one, and those of lost connections for as long as these last."""


Authorise = Callable[[Request], Awaitable[RegisteredNode]]


class Claims:
    """Long polls for jobs. Nothing is leased to a node that has gone away meanwhile."""

    def __init__(self, queue: Queue, tasks: Tasks, notifications: Notifications) -> None:
        self._queue = queue
        self._tasks = tasks
        self._notifications = notifications
        self._open = Counter[str]()

    async def claim(
        self, request: Request, authorise: Authorise, asked: ClaimRequest
    ) -> list[ClaimedJob]:
        """Up to ``asked.slots`` jobs; none when ``asked.wait`` seconds brought none.

        ``authorise``: called before each look for jobs, since the node may be removed meanwhile.
        The request's body must have been read. Raises ProblemError too_many_waits, or that of
        ``authorise``.
        """
        with self._counted(await authorise(request)):
            return await self._wait_for_jobs(request, authorise, asked)

    async def _wait_for_jobs(
        self, request: Request, authorise: Authorise, asked: ClaimRequest
    ) -> list[ClaimedJob]:
        node = await authorise(request)
        clock = asyncio.get_running_loop().time
        deadline = clock() + asked.wait
        with self._waiting(node) as waiter, _departure(request, waiter) as left:
            while not left.done():
                await authorise(request)
                jobs = await self._claim(node, asked)
                if jobs and left.done():
                    await self._release(node, jobs)
                    break
                time_left = deadline - clock()
                if jobs or time_left <= 0 or self._notifications.closed:
                    return jobs
                await waiter.wait(time_left)
        return []

    @contextlib.contextmanager
    def _counted(self, node: RegisteredNode) -> Iterator[None]:
        if self._open[node.id] >= MAX_CLAIMS_OF_NODE:
            raise ProblemError(
                Code.TOO_MANY_WAITS, f"Node {node.id} has {MAX_CLAIMS_OF_NODE} claims open already."
            )
        self._open[node.id] += 1
        try:
            yield
        finally:
            self._open[node.id] -= 1
            if not self._open[node.id]:
                del self._open[node.id]

    def _waiting(self, node: RegisteredNode) -> contextlib.AbstractContextManager[Waiter]:
        if node.group == self._tasks.node_group:
            return self._notifications.tasks(node.id)
        return self._notifications.jobs(node.group)

    async def _claim(self, node: RegisteredNode, asked: ClaimRequest) -> list[ClaimedJob]:
        if node.group == self._tasks.node_group:
            return await self._tasks.claim(node.id, asked.kinds, asked.slots)
        return await self._queue.claim(node.id, node.group, asked.kinds, asked.slots)

    async def _release(self, node: RegisteredNode, jobs: list[ClaimedJob]) -> None:
        if node.group == self._tasks.node_group:
            await self._tasks.release(node.id, jobs)
        else:
            await self._queue.release(node.group, jobs)


@contextlib.contextmanager
def _departure(request: Request, waiter: Waiter) -> Iterator[asyncio.Task[None]]:
    """Return a task that ends, and wakes the waiter, when the client closes its connection."""
    task = asyncio.create_task(_disconnected(request))
    task.add_done_callback(lambda _: waiter.wake())
    try:
        yield task
    finally:
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
