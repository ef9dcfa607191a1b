"""The heartbeat: what changes between two of them is told without waiting for the next."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node import heartbeat
from custody.node.clock import Clock
from custody.node.control_plane_client import ControlPlaneUnavailable
from custody.node.health import Health, Part
from custody.node.heartbeat import Heartbeat
from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.audit import GENESIS, AuditHead
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.node_api import HeartbeatRequest, HeartbeatResponse
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, SignedBytes, SigningKey
from tests.made_up_keys import made_up_key

SECONDS = 20
FREEZE = "frozen by a test"


class Chain:
    """Signs its head, unless its database is away."""

    def __init__(self) -> None:
        self.is_away = False

    async def signed_head(self) -> SignedBytes:
        if self.is_away:
            raise OSError("the database is away")
        head = AuditHead(node="node-1", sequence=0, hash=GENESIS)
        signer = SigningKey(Ed25519PrivateKey.generate())
        return signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())


class Journal:
    """Its database answers or does not."""

    def __init__(self) -> None:
        self.is_away = False

    @property
    def database(self) -> "Journal":
        return self

    async def probe(self) -> bool:
        return not self.is_away

    def problem(self) -> str | None:
        return "does not answer" if self.is_away else None


class ControlPlane:
    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.last: HeartbeatRequest | None = None
        self.is_away = self.hangs = False
        self.asked = 0

    async def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        self.asked += 1
        if self.is_away:
            raise ControlPlaneUnavailable("away")
        if self.hangs:
            await asyncio.Event().wait()
        self.last = request
        self.told.put_nowait(request.health.status.value)
        return HeartbeatResponse(node="node-1", group="hsm", time=datetime.now(UTC))


class Node:
    """A heartbeat with what it needs; ``problem`` is the node's own."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.warnings: list[str] = []
        self.left: list[LeftInFlight] = []
        self.plane, self.chain, self.journal = ControlPlane(), Chain(), Journal()
        parts: Any = {"client": self.plane, "chain": self.chain, "journal": self.journal}
        self.heartbeat = Heartbeat(
            **parts,
            clock=Clock(timedelta(seconds=30)),
            health=Health(
                [Part("freeze", lambda: self.problem), Part("database", self.journal.problem)],
                lambda: self.warnings,
            ),
            group="hsm",
            kinds=[],
            capabilities={},
            bans=None,
            left_in_flight=self.left_in_flight,
            identity_public_key=made_up_key(EDDSA_ED25519),
            slots=1,
            has_gate=False,
            sends_audit_records=True,
        )

    async def left_in_flight(self) -> list[LeftInFlight]:
        if self.journal.is_away:
            raise OSError("the database is away")
        return self.left

    async def next_told(self) -> str:
        async with asyncio.timeout(SECONDS):
            return await self.plane.told.get()


@pytest.fixture
async def node(monkeypatch):
    """Its next heartbeat by the clock is an hour away."""
    monkeypatch.setattr(heartbeat, "INTERVAL", 3600.0)
    monkeypatch.setattr(heartbeat, "LOOK", 0.001)
    node = Node()
    running = asyncio.create_task(node.heartbeat.run())
    yield node
    running.cancel()


async def test_the_node_says_that_it_sends_audit_records(node):
    await node.next_told()
    assert node.plane.last.sends_audit_records


async def test_a_freeze_and_its_end_are_told_at_once(node):
    assert await node.next_told() == "ok"
    node.problem = FREEZE
    assert await node.next_told() == "degraded"
    node.problem = None
    assert await node.next_told() == "ok"


async def test_a_confirmed_backup_is_told_at_once(node):
    assert await node.next_told() == "ok"
    node.warnings = ["no confirmed backup"]
    assert await node.next_told() == "ok"
    assert node.plane.last.health.warnings == ("no confirmed backup",)
    node.warnings = []
    assert await node.next_told() == "ok"
    assert node.plane.last.health.warnings == ()


async def test_what_stays_as_it_was_told_is_not_told_again(node):
    assert await node.next_told() == "ok"
    node.problem = FREEZE
    assert await node.next_told() == "degraded"
    node.problem = f"{FREEZE}, and by another"  # words alone
    await asyncio.sleep(0.1)  # a heartbeat, which must not come
    assert node.plane.told.empty()


async def test_a_heartbeat_that_fails_is_not_tried_again_at_every_look(node):
    assert await node.next_told() == "ok"
    node.plane.is_away = True
    node.problem = FREEZE
    await asyncio.sleep(0.1)  # a heartbeat, which must not come
    assert node.plane.asked == 2


async def test_one_that_cannot_even_be_made_is_not_either(node):
    assert await node.next_told() == "ok"
    node.chain.is_away = True
    node.problem = FREEZE
    await asyncio.sleep(0.1)  # a heartbeat, which must not come
    assert node.plane.asked == 1


async def test_a_node_without_its_database_tells_that_it_is_without(node):
    assert await node.next_told() == "ok"
    node.journal.is_away = node.chain.is_away = True
    assert await node.next_told() == "degraded"
    assert node.plane.last.health.detail == "database: does not answer"
    assert node.plane.last.audit_head is None


async def test_a_node_that_is_told_to_stop_says_so_without_its_database(node):
    assert await node.next_told() == "ok"
    node.journal.is_away = node.chain.is_away = True
    await node.heartbeat.say_stopping()
    assert node.plane.last.health == heartbeat.STOPPING
    assert not heartbeat.STOPPING.works


@pytest.mark.parametrize("fault", ["is_away", "hangs"])
async def test_a_last_heartbeat_that_cannot_be_sent_does_not_keep_a_node_from_stopping(
    node, monkeypatch, fault
):
    monkeypatch.setattr(heartbeat, "LAST_SECONDS", 0.05)
    assert await node.next_told() == "ok"
    setattr(node.plane, fault, True)
    async with asyncio.timeout(SECONDS):
        await node.heartbeat.say_stopping()
    assert node.plane.asked == 2


async def test_what_is_left_in_flight_is_told_and_is_unknown_without_the_database(node):
    await node.next_told()
    left = LeftInFlight(key_id=UUID(int=1), signer="signer-2", since=datetime.now(UTC))
    node.left, node.problem = [left], "something changed"
    await node.next_told()
    assert node.plane.last.left_in_flight == (left,)
    node.journal.is_away, node.problem = True, None
    await node.heartbeat.beat()
    assert node.plane.last.left_in_flight is None
