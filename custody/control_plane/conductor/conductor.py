"""Plans the steps of MPC requests: reads the facts, decides, and writes the next steps.

The rows contain all state, so any replica can continue after a crash at any point. Only one replica
plans at a time, so that replica can reserve slots at all needed signers or at none.
Each plan covers all due requests.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from custody.control_plane.conductor import queries
from custody.control_plane.conductor.groups import SignerGroups
from custody.control_plane.conductor.metrics import StepMetrics
from custody.control_plane.conductor.planning.decisions import (
    Begin,
    Complete,
    End,
    Obeyed,
    Prepared,
    Signed,
)
from custody.control_plane.conductor.planning.facts import CEREMONY_OF, Member
from custody.control_plane.conductor.planning.plan import plan
from custody.control_plane.conductor.reading import (
    Facts,
    facts_of,
    member_of,
    names_of_groups,
)
from custody.control_plane.conductor.settings import CeremoniesSection
from custody.control_plane.conductor.step_making import StepMaker
from custody.control_plane.conductor.writing import Planned, Written, final_change, written
from custody.control_plane.database import Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queries import BEGIN_STEPS
from custody.control_plane.jobs.queue import Queue
from custody.database.causes import is_transient
from custody.database.connection import Connection, Row

MAX_REQUESTS = 64
"""Maximum number of requests in one plan. The conductor plans the others right after it."""
RETRY_SECONDS = 0.5
"""Seconds that the conductor waits after a plan of all requests failed."""
HOLD_SECONDS = 10.0
"""Seconds until the conductor retries a request that it could not plan."""
UNSEEN_SECONDS = 0.5
"""Seconds after which ``sweep`` marks a report that no replica has planned."""

log = structlog.get_logger(__name__)


class Conductor:
    """Plans requests: ``look`` marks some for the next plan, and ``run`` also finds due ones."""

    def __init__(
        self,
        *,
        database: Database,
        notifications: Notifications,
        queue: Queue,
        node_group: str,
        groups: SignerGroups,
        maker: StepMaker,
        settings: CeremoniesSection,
        metrics: StepMetrics,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._queue = queue
        self._node_group = node_group
        self._groups = groups
        self._maker = maker
        self._settings = settings
        self._metrics = metrics
        self._to_look_at: set[UUID] = set()
        self._is_short_of_slots = False

    def look(self, request_ids: Iterable[UUID]) -> None:
        """Mark requests for the next plan, because signers have reported outcomes for them."""
        self._to_look_at.update(request_ids)
        self._notifications.wake_jobs(self._node_group)

    def slots_freed(self) -> None:
        """Wake the conductor if the last plan left a request waiting for slots."""
        if self._is_short_of_slots:
            self._notifications.wake_jobs(self._node_group)

    async def run(self) -> None:
        """Plan whenever there is something to plan, until cancelled."""
        with self._notifications.jobs(self._node_group) as waiter:
            while True:
                await self._plan_safely()
                while not self._to_look_at and not await waiter.wait(60):
                    pass

    async def sweep(self) -> int:
        """Mark at most MAX_REQUESTS late, due or unplanned requests. Return their number."""
        rows = await self._database.hastily(
            queries.READ_OVERDUE,
            {
                "claim_seconds": self._settings.claim_seconds,
                "report_seconds": UNSEEN_SECONDS,
                "group": self._node_group,
                "limit": MAX_REQUESTS,
            },
        )
        if rows:
            self.look(row.request_id for row in rows)
        return len(rows)

    async def _plan_safely(self) -> None:
        ids = {self._to_look_at.pop() for _ in range(min(len(self._to_look_at), MAX_REQUESTS))}
        try:
            await self.plan_once(ids)
        except Exception as error:
            self._to_look_at |= ids
            if not is_transient(error):  # the check of the database reports outages
                log.error("plan failed", exc_info=error)
            await asyncio.sleep(RETRY_SECONDS)

    async def plan_once(self, ids: set[UUID]) -> None:
        """Plan these requests, and those that are due."""
        async with self._database.hasty_transaction(queries.LOCK) as connection:
            facts, members, faults = await self._read(connection, ids)
            planned = self._plan(facts, members, faults)
            if faults:
                held = {"ids": list(faults), "seconds": HOLD_SECONDS}
                await connection.rows(queries.HOLD, held)
            moved = await self._write(connection, written(planned))
        for request_id, fault in faults.items():
            log.error("request held: it cannot be planned", request=request_id, exc_info=fault)
        self._after(planned, moved)
        ends = [final_change(one) for one in planned if _is_final(one)]
        await self._queue.write(ends)

    async def _read(
        self, connection: Connection, ids: set[UUID]
    ) -> tuple[list[Facts], dict[str, Member], dict[UUID, Exception]]:
        """Return each request's facts, the signers, and why other requests cannot be read.

        Each read sees what was committed before it began, so also what the last plan wrote.
        """
        wanted = {"ids": list(ids), "group": self._node_group, "limit": MAX_REQUESTS}
        requests = await connection.rows(queries.READ_REQUESTS, wanted)
        if not requests:
            return [], {}, {}
        steps: list[Row] = []
        begun = [row.id for row in requests if row.attempt > 0]
        if begun:
            late = {"ids": begun, "claim_seconds": self._settings.claim_seconds}
            steps = await connection.rows(queries.READ_STEPS, late)
        alive = {"alive_seconds": self._settings.alive_seconds, "group": self._node_group}
        nodes = await connection.rows(queries.READ_MEMBERS, alive)
        members = {row.id: member_of(row) for row in nodes}
        groups = await self._groups.of(names_of_groups(requests), within=connection)
        facts, faults = facts_of(requests, steps, members, groups, self._maker.servers)
        return facts, members, faults

    def _plan(
        self, facts: list[Facts], members: dict[str, Member], faults: dict[UUID, Exception]
    ) -> list[Planned]:
        """Return the plans, in order. Each plan reserves slots that later plans cannot use.

        A request whose plan fails is added to ``faults``.
        """
        planned = []
        for one in facts:
            try:
                planned.append(self._plan_one(one, members))
            except Exception as error:
                faults[one.request.id] = error
        return planned

    def _plan_one(self, one: Facts, members: dict[str, Member]) -> Planned:
        made = plan(one.request, random.random())  # noqa: S311 (it spreads retries)
        begin = made.decision
        step = None
        if isinstance(begin, Begin) and made.delay_seconds == 0:
            step = self._maker.make(one.asked(begin), begin)
            if begin.kind in CEREMONY_OF:
                _take_slots(members, begin.signers)
        return Planned(one, made, step)

    async def _write(self, connection: Connection, to_write: Written) -> set[UUID]:
        """Write the plan. Return the ids of the requests whose next step has begun."""
        if to_write.is_durable:
            await connection.rows(queries.WAIT_FOR_DISK)
        for sql, values in to_write.queries():
            await connection.rows(sql, values)
        if not to_write.moves:
            return set()
        notifications = self._notifications
        announcing: dict[str, Any] = {
            "origin": notifications.origin,
            "announce": notifications.has_company,
        }
        moved = await connection.rows(BEGIN_STEPS, {**to_write.begun(), **announcing})
        return {row.id for row in moved}

    def _after(self, planned: list[Planned], moved: set[UUID]) -> None:
        clock = asyncio.get_running_loop()
        self._is_short_of_slots = False
        for one in planned:
            if one.step is not None and one.facts.request.id in moved:
                self._notifications.wake_tasks(one.step.signers)
            if one.plan.delay_seconds > 0:
                clock.call_later(
                    one.plan.delay_seconds, self._notifications.wake_jobs, self._node_group
                )
            if one.is_short_of_slots:
                self._is_short_of_slots = True
            if one.plan.ended is not None:
                ended = one.plan.ended
                self._metrics.ended.labels(ended.step.kind.value, ended.ending.value).inc()
                for culprit in set(ended.culprits) - set(ended.step.culprits):
                    self._metrics.culprits.labels(culprit, ended.step.kind.value).inc()
        if len(planned) >= MAX_REQUESTS:
            self._notifications.wake_jobs(self._node_group)


def _is_final(planned: Planned) -> bool:
    is_end = isinstance(planned.plan.decision, End | Complete | Obeyed | Prepared | Signed)
    return is_end and planned.plan.delay_seconds == 0


def _take_slots(members: dict[str, Member], signers: Iterable[str]) -> None:
    for signer in signers:
        member = members[signer]
        taken = replace(member, free=member.free - 1, load=member.load + 1 / max(member.free, 1))
        members[signer] = taken
