"""Whose clock is off is left out before anything is tried, and the reason says why."""

from datetime import timedelta

from custody.wire.clocks import allowed_offset
from custody.wire.node_api import HealthStatus, HeartbeatResponse, NodeHealth
from tests.integration.conductor.conftest import QUICK, Troupe

OFF = "clock: 20 s ahead of the control plane's: 1 s are allowed"


def off(text: str = OFF) -> NodeHealth:
    return NodeHealth(status=HealthStatus.DEGRADED, detail=text)


async def test_a_signer_is_told_what_tickets_allow(troupe: Troupe):
    answer = await troupe[1].node.heartbeat()
    told = HeartbeatResponse.model_validate_json(answer.content).max_clock_offset_seconds
    assert told == allowed_offset(timedelta(seconds=QUICK.sign_seconds)).total_seconds() == 1


async def test_a_signer_that_is_ahead_is_in_no_quorum(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[2].health = off()
    await troupe[2].beat()
    troupe.stage.tickets.clear()
    for number in range(4):
        assert (await troupe.sign(wallet["key_id"], f"m {number}"))["status"] == "Signed"
    taking_part = {each.signer for one in troupe.stage.tickets for each in one.participants}
    assert taking_part == {"signer-1", "signer-3"}
    shown = (await troupe.api.get("/v1/signers")).json()["items"]
    assert shown[1]["health"]["detail"] == OFF


async def test_with_too_few_in_step_nothing_is_tried_and_the_reason_says_why(troupe: Troupe):
    wallet = await troupe.wallet()
    for number in (1, 2):
        troupe[number].health = off(OFF.replace("ahead of", "behind"))
        await troupe[number].beat()
    troupe.stage.tickets.clear()
    pending = await troupe.sign(wallet["key_id"], wait=1)
    assert (pending["status"], troupe.stage.tickets) == ("Pending", [])
    assert pending["reason"]["code"] == "waiting_for_signers"
    assert "signer-1: clock: 20 s behind the control plane's" in pending["reason"]["detail"]


async def test_another_server_is_chosen_where_t_signers_say_that_one_is_off(troupe: Troupe):
    wallet = await troupe.wallet()
    problem = {"delivery-1": "its clock is 20 s ahead of the control plane's"}
    for number in (1, 3):
        troupe[number].delivery_problems = problem
        await troupe[number].beat()
    troupe.stage.tickets.clear()
    for number in range(6):
        assert (await troupe.sign(wallet["key_id"], f"m {number}"))["status"] == "Signed"
    assert {ticket.delivery for ticket in troupe.stage.tickets} == {"delivery-2"}
    for number in (1, 3):
        troupe[number].delivery_problems = problem | {"delivery-2": "its clock is off, too"}
        await troupe[number].beat()
    pending = await troupe.sign(wallet["key_id"], wait=1)
    assert (pending["status"], pending["reason"]["code"]) == ("Pending", "no_delivery_server")
    assert "delivery-1: its clock is 20 s ahead" in pending["reason"]["detail"]
