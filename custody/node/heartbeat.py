"""Heartbeats: tell the control plane this node's version and health, and compare the clocks."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import structlog

from custody.database.causes import is_transient
from custody.node.audit import AuditChain
from custody.node.clock import Clock
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
)
from custody.node.health import Health
from custody.node.journal import Journal
from custody.node.metrics import CLOCK_OFFSET
from custody.wire.algorithms import Algorithm, Protection
from custody.wire.inventory import InventoryQuestion
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.node_api import MAX_LEFT_IN_FLIGHT, HeartbeatRequest, NodeHealth
from custody.wire.signed_bytes import SignedBytes

log = structlog.get_logger()

INTERVAL = 10.0
"""Seconds between heartbeats; also the longest pause before a retry."""
LOOK = 0.5
"""Seconds between checks of our own health; a change is reported at once."""
FIRST_PAUSE = 0.5
LAST_SECONDS = 2.0
"""Seconds for the last heartbeat, which delays the stop no longer than that."""
STOPPING = NodeHealth(status="failing", detail="was told to stop", works=False)


class Heartbeat:
    def __init__(
        self,
        *,
        client: ControlPlaneClient,
        journal: Journal,
        chain: AuditChain,
        clock: Clock,
        health: Health,
        group: str,
        kinds: list[str],
        capabilities: Mapping[Algorithm, Protection],
        bans: Callable[[], Awaitable[Sequence[SignedBytes]]] | None,
        left_in_flight: Callable[[], Awaitable[Sequence[LeftInFlight] | None]] | None,
        identity_public_key: bytes,
        slots: int,
        has_gate: bool,
        sends_audit_records: bool,
        delivery_problems: Callable[[], dict[str, str]] = dict,
        job_signing_keys: Callable[[], tuple[str, ...]] = tuple,
        delivery_job_signing_keys: Callable[[], dict[str, tuple[str, ...]]] = dict,
        ban_questions: Callable[[Sequence[SignedBytes]], None] = lambda _: None,
        on_inventory: Callable[[InventoryQuestion], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._chain = chain
        self._clock = clock
        self._health = health
        self._group = group
        self._kinds = kinds
        self._capabilities = {str(key): value.value for key, value in capabilities.items()}
        self._bans = bans
        self._left_in_flight = left_in_flight
        self._identity_public_key = identity_public_key
        self._slots = slots
        self._has_gate = has_gate
        self._sends_audit_records = sends_audit_records
        self._delivery_problems = delivery_problems
        self._job_signing_keys = job_signing_keys
        self._delivery_job_signing_keys = delivery_job_signing_keys
        self._ban_questions = ban_questions
        self._on_inventory = on_inventory
        self._told: tuple[str, bool, tuple[str, ...]] | None = None

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self.beat()
                pause = INTERVAL
            except (ControlPlaneUnavailable, ControlPlaneRefused) as error:
                log.warning("heartbeat failed", error=str(error))
                asked = error.retry_after if isinstance(error, ControlPlaneUnavailable) else None
                pause = min(max(pause * 2, asked or 0), INTERVAL)
            except Exception as error:
                if is_transient(error):
                    log.warning("heartbeat failed", error=str(error))
                else:
                    log.exception("heartbeat failed")
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        """Wait for the next heartbeat, which comes sooner if our state has changed."""
        clock = asyncio.get_running_loop()
        until = clock.time() + seconds
        while (left := until - clock.time()) > 0:
            await asyncio.sleep(min(LOOK, left))
            if self._told is not None and _gist(self._health.summary()) != self._told:
                return

    async def beat(self) -> None:
        self._told = None
        # a node without its database can still report that problem
        has_database = await self._journal.database.probe()
        left = await self._left_in_flight() if self._left_in_flight and has_database else None
        request = self._request(
            self._health.summary(),
            audit_head=await self._chain.signed_head() if has_database else None,
            bans=tuple(await self._bans()) if self._bans and has_database else (),
            left_in_flight=None if left is None else tuple(left)[:MAX_LEFT_IN_FLIGHT],
        )
        sent = datetime.now(UTC)
        answer = await self._client.heartbeat(request)
        self._told = _gist(request.health)
        self._ban_questions(answer.ban_questions)
        self._clock.allow(answer.max_clock_offset_seconds)
        self._clock.compare(answer.time, sent, datetime.now(UTC))
        if answer.inventory is not None:
            self._on_inventory(answer.inventory)
        CLOCK_OFFSET.set(self._clock.offset.total_seconds())
        problem = self._clock.problem(datetime.now(UTC))
        if problem is not None:
            log.error(
                "clocks disagree: nothing is signed",
                problem=problem,
            )

    async def say_stopping(self) -> None:
        """Send the last heartbeat: the control plane then knows at once that this node stops."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._client.heartbeat(self._request(STOPPING))
        except (TimeoutError, ControlPlaneUnavailable, ControlPlaneRefused) as error:
            log.warning("last heartbeat failed", error=str(error) or type(error).__name__)

    def _request(
        self,
        health: NodeHealth,
        audit_head: SignedBytes | None = None,
        bans: tuple[SignedBytes, ...] = (),
        left_in_flight: tuple[LeftInFlight, ...] | None = None,
    ) -> HeartbeatRequest:
        return HeartbeatRequest(
            version=version("custody"),
            group=self._group,
            kinds=self._kinds,
            capabilities=self._capabilities,
            health=health,
            identity_public_key=self._identity_public_key,
            audit_head=audit_head,
            bans=bans,
            left_in_flight=left_in_flight,
            slots=self._slots,
            has_gate=self._has_gate,
            sends_audit_records=self._sends_audit_records,
            delivery_problems=self._delivery_problems(),
            job_signing_keys=self._job_signing_keys(),
            delivery_job_signing_keys=self._delivery_job_signing_keys(),
        )


def _gist(health: NodeHealth) -> tuple[str, bool, tuple[str, ...]]:
    """Return the facts whose change is reported at once."""
    return health.status.value, health.works, health.warnings
