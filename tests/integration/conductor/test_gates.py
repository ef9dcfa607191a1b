"""Signers whose owners have a gate: asked before any ceremony, and only where they are needed."""

from typing import Any

from custody.wire.jobs import Job, JobKind
from tests.integration.conductor.conftest import CALM, Troupe
from tests.integration.conductor.scripted_signer import denied, failed

APPROVE = JobKind.APPROVE


async def give_gates(troupe: Troupe, *indices: int) -> None:
    for index in indices:
        troupe[index].has_gate = True
        await troupe[index].beat()


def always(error: Exception) -> Any:
    def script(*_: object) -> None:
        raise error

    return script


@CALM
async def test_gates_are_asked_before_a_ceremony(troupe: Troupe):
    wallet = await troupe.wallet()
    await give_gates(troupe, 1, 2, 3)
    signed = await troupe.sign(wallet["key_id"])
    assert signed["status"] == "Signed"
    (first, ending), second = await troupe.steps_of(signed["id"])
    assert (first, second) == ("Approve", ("Sign", "done"))
    assert ending in ("done", "overtaken")


async def test_what_is_approved_is_the_very_request_that_is_signed(troupe: Troupe):
    wallet = await troupe.wallet()
    await give_gates(troupe, 1, 2, 3)
    signed = await troupe.sign(wallet["key_id"])
    jobs: list[Job] = [job for job in troupe.taken if str(job.request_id) == signed["id"]]
    assert {job.kind for job in jobs} == {"Approve", "Sign"}
    assert len({job.request_digest for job in jobs}) == 1


@CALM
async def test_gates_are_not_asked_where_enough_signers_have_none(troupe: Troupe):
    wallet = await troupe.wallet()
    await give_gates(troupe, 1)
    signed = await troupe.sign(wallet["key_id"])
    assert await troupe.steps_of(signed["id"]) == [("Sign", "done")]
    assert await troupe.signers_of(signed["id"]) == [{"signer-2", "signer-3"}]


@CALM
async def test_one_gate_that_hangs_holds_up_nothing(troupe: Troupe):
    wallet = await troupe.wallet()
    await give_gates(troupe, 1, 2, 3)
    troupe[3].crash_on = {APPROVE}
    signed = await troupe.sign(wallet["key_id"])
    assert signed["status"] == "Signed"
    assert await troupe.steps_of(signed["id"]) == [("Approve", "overtaken"), ("Sign", "done")]


async def test_a_pending_decision_is_asked_for_again(troupe: Troupe):
    wallet = await troupe.wallet()
    await give_gates(troupe, 1, 2, 3)
    for index in (1, 2):
        troupe[index].on[APPROVE] = always(failed("approval_pending"))
    pending = await troupe.sign(wallet["key_id"], wait=0)
    path = f"/v1/keys/{wallet['key_id']}/signatures/{pending['id']}"

    async def says_so() -> bool:
        reason = (await troupe.api.get(path)).json()["reason"]
        return reason is not None and reason["code"] == "approval_pending"

    await troupe.until(says_so)
    troupe[1].on.clear()
    assert (await troupe.api.get(path + "?wait=20")).json()["status"] == "Signed"


async def test_gates_that_reject_reject_the_request(troupe: Troupe):
    wallet = await troupe.wallet()
    await give_gates(troupe, 1, 2, 3)
    for index in (1, 2):
        troupe[index].on[APPROVE] = always(denied("gate_rejected"))
    rejected = await troupe.sign(wallet["key_id"])
    assert (rejected["status"], rejected["reason"]["code"]) == ("Rejected", "gate_rejected")
    assert JobKind.SIGN not in {job.kind for job in troupe.taken}


@CALM
async def test_a_refresh_asks_every_gate(troupe: Troupe):
    wallet = await troupe.wallet()
    await give_gates(troupe, 2, 3)
    change = await troupe.change(wallet["key_id"], "refresh")
    assert change["status"] == "Done"
    assert (await troupe.steps_of(change["id"]))[0] == ("Approve", "done")
    assert (await troupe.signers_of(change["id"]))[0] == {"signer-2", "signer-3"}
