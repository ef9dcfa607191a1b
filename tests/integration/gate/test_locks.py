"""Both locks together: a job for which one of them is shut reaches no handler."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from custody.database.pool import Pool
from custody.node.applications import Applications
from custody.node.approvals import Approvals
from custody.node.errors import Denied
from custody.node.gate import Gate
from custody.node.gate_client import GateClient
from custody.node.locks import Details, Locks
from custody.node.settings import GateSection
from custody.node.signed_requests import SignedRequests
from custody.node.slots import Slots
from custody.wire.algorithms import Store
from custody.wire.jobs import Job
from hsm_driver.signing import Sign
from tests import played_gate
from tests.played_gate import PlayedGate
from tests.unit.node.requests import APPLICATION, complete, job_around, signed

ASKED = Sign(cast(Any, None))
"""A handler that carries a request and asks the gate."""


def job(body: bytes | None = None) -> Job:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    return job_around(body or complete(expires_at=soon), expires_at=soon)


def locks(pool: Pool, gate: Gate | None = None, *, required: bool = False) -> Locks:
    requests = SignedRequests(pool, Store.HSM, lambda: timedelta(days=90), required=required)
    return Locks(requests, gate, Approvals(pool, "zurich-1"))


@pytest.fixture
async def gate(section: GateSection, pool: Pool) -> AsyncIterator[Gate]:
    slots = Slots(2)
    slots.take()
    async with GateClient(section) as client:
        approvals = Approvals(pool, "zurich-1")
        yield Gate(section, client, approvals, slots, node="zurich-1", store=Store.HSM)


async def code_of(opening: Any) -> str:
    with pytest.raises(Denied) as caught:
        await opening
    return caught.value.code


async def test_where_requests_must_be_signed_one_that_is_not_opens_nothing(pool):
    await Applications(pool).add("shop", APPLICATION.public_key)
    shut = locks(pool, required=True)
    assert await code_of(shut.open(job(), ASKED, {})) == "unsigned_request"
    details: Details = {}
    await shut.open(signed(job()), ASKED, details)
    assert details == {"application": "shop"}


async def test_a_body_that_two_readers_could_read_differently_opens_nothing(pool):
    body = b'{"kind": "Message", "message": "1 coin", "message": "100 coins"}'
    assert await code_of(locks(pool).open(job(body), ASKED, {})) == "malformed_request"


async def test_what_the_gate_rejects_opens_nothing(pool: Pool, gate: Gate, played: PlayedGate):
    played.play = played_gate.reject
    details: Details = {}
    assert await code_of(locks(pool, gate).open(job(), ASKED, details)) == "gate_rejected"
    assert details["gate"] == "reject"


async def test_what_the_gate_approves_is_open(pool: Pool, gate: Gate, played: PlayedGate):
    details: Details = {}
    await locks(pool, gate).open(job(), ASKED, details)
    assert details["gate"] == "approve"
