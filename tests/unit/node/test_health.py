"""What the local port says of a node with a problem, by whether it can still do jobs."""

import httpx
import pytest

from custody.node.health import Health, Part
from custody.node.metrics import READY
from custody.wire.node_api import MAX_WARNINGS


def said() -> str:
    return "left in the middle"


@pytest.mark.parametrize(("stops_work", "status"), [(True, 503), (False, 200)])
async def test_a_node_is_ready_while_no_problem_stops_its_work(stops_work: bool, status: int):
    health = Health([Part("database", lambda: None), Part("in flight", said, stops_work)])
    transport = httpx.ASGITransport(health.application())
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        answer = await client.get("/readyz")
    assert answer.status_code == status
    assert answer.json() == {
        "status": "degraded",
        "problems": {"in flight": said()},
        "warnings": [],
    }
    assert READY._value.get() == (0 if stops_work else 1)
    assert health.summary().status == "degraded"


async def test_a_warning_leaves_a_node_ready_and_ok():
    health = Health([Part("database", lambda: None)], lambda: ["no confirmed backup"])
    transport = httpx.ASGITransport(health.application())
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "problems": {}, "warnings": ["no confirmed backup"]}
    summary = health.summary()
    assert (summary.status, summary.works) == ("ok", True)
    assert summary.warnings == ("no confirmed backup",)


def test_a_heartbeat_has_room_for_the_first_warnings():
    many = [f"warning {number}" for number in range(MAX_WARNINGS + 5)]
    assert Health([], lambda: many).summary().warnings == tuple(many[:MAX_WARNINGS])
