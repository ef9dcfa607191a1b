"""Replicas that conduct at once, and one that ends in the middle: the rows are all there is."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import update

from custody.control_plane.conductor.settings import CeremoniesSection
from custody.control_plane.tables import JobState, jobs
from custody.wire.tickets import Ticket
from tests.integration.conductor.conftest import CALM, Conducting, Troupe
from tests.integration.control_plane.conftest import Replica
from tests.integration.node_api.certificates import Certificates


@pytest.fixture
async def other(
    control_plane_database: str, certificates: Certificates, ceremonies: CeremoniesSection
) -> AsyncIterator[Conducting]:
    """A second replica over the same database; the signers do not know of it."""
    conducting = Conducting(Replica(control_plane_database, ceremonies), certificates)
    await conducting.start()
    yield conducting
    await conducting.stop()


@CALM
async def test_two_replicas_never_begin_a_step_twice(troupe: Troupe, other: Conducting):
    wallet = await troupe.wallet()
    await other.replica.mpc.conductor.sweep()
    asked = await asyncio.gather(
        *(troupe.sign(wallet["key_id"], f"message {number}") for number in range(20))
    )
    assert {each["status"] for each in asked} == {"Signed"}
    for each in asked:
        assert [kind for kind, _ in await troupe.steps_of(each["id"])] == ["Sign"]
    await troupe.has_free_slots()


async def test_a_request_is_taken_over_by_another_replica_at_every_step(
    troupe: Troupe, other: Conducting
):
    """The first replica takes requests and reports, and plans nothing more."""
    await troupe.conducting.stop_conducting()
    wallet = await troupe.wallet()
    assert wallet["status"] == "Active", wallet
    signed = await troupe.sign(wallet["key_id"])
    assert signed["status"] == "Signed"


async def test_what_a_replica_began_is_gone_on_with_after_a_restart(troupe: Troupe):
    for _ in range(3):
        pending = await troupe.wallet(wait=0)
        await asyncio.sleep(0.05)  # it stops at whatever it is doing then
        await troupe.conducting.stop_conducting()
        await asyncio.sleep(0.1)  # signers report meanwhile
        troupe.conducting.start_conducting()
        path = f"/v1/wallets/{pending['id']}?wait=20"
        assert (await troupe.api.get(path)).json()["status"] == "Active"


async def test_a_signature_that_comes_after_the_expiry_is_for_admins_only(troupe: Troupe):
    wallet = await troupe.wallet()
    meet = troupe.stage.meet
    may_go_on = asyncio.Event()

    async def held_up(signer: str, ticket: Ticket) -> None:
        await may_go_on.wait()
        await meet(signer, ticket)

    troupe.stage.meet = held_up  # type: ignore[method-assign]
    pending = await troupe.sign(wallet["key_id"], wait=0)
    await troupe.until(lambda: any(str(job.id) == pending["id"] for job in troupe.taken))
    await troupe.expire(pending["id"])
    path = f"/v1/keys/{wallet['key_id']}/signatures/{pending['id']}?wait=10"
    ended = (await troupe.api.get(path)).json()
    assert (ended["status"], ended["reason"]["code"]) == ("Failed", "expired")
    may_go_on.set()

    async def is_kept() -> bool:
        return (await troupe.job_row(pending["id"])).late_outcome is not None

    await troupe.until(is_kept)
    assert (await troupe.api.get(path)).json() == ended


@CALM
async def test_a_request_whose_signature_is_there_is_not_signed_again(
    troupe: Troupe, other: Conducting
):
    """A report ends step and request in two transactions; here the second one is missing."""
    wallet = await troupe.wallet()
    signed = await troupe.sign(wallet["key_id"])
    await troupe.conducting.stop_conducting()
    await other.stop_conducting()
    request_id = UUID(signed["id"])
    of_request = update(jobs).where(jobs.c.id == request_id)
    under_way = {"state": JobState.LEASED.value, "finished_at": None, "outcome": None}
    async with other.replica.engine.begin() as connection:
        await connection.execute(of_request.values(**under_way))
    await other.replica.mpc.conductor.sweep()
    other.start_conducting()

    async def is_done() -> bool:
        return bool((await troupe.job_row(signed["id"])).state == JobState.DONE.value)

    await troupe.until(is_done)
    path = f"/v1/keys/{wallet['key_id']}/signatures/{signed['id']}"
    assert (await troupe.api.get(path)).json() == signed
    assert await troupe.steps_of(signed["id"]) == [("Sign", "done")]
