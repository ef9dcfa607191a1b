"""New shares of a key that stays: refresh and repair, with signers that come and go."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import update

from custody.control_plane.tables import keys
from custody.wire.jobs import Job, JobKind
from custody.wire.outcomes import OutcomeStatus, SetOfShares
from custody.wire.tickets import CeremonyKind, Ticket
from tests.integration.conductor.conftest import CALM, Troupe
from tests.integration.conductor.scripted_signer import NotDone, Share, denied, failed


def always(error: Exception) -> Any:
    def script(*_: object) -> None:
        raise error

    return script


@CALM
async def test_a_refresh_makes_a_new_generation_of_the_same_key(troupe: Troupe):
    wallet = await troupe.wallet()
    before = await troupe.key(wallet["key_id"])
    old = troupe[1].active
    change = await troupe.change(before["id"], "refresh")
    assert (change["kind"], change["status"], change["reason"]) == ("Refresh", "Done", None)
    after = await troupe.key(before["id"])
    assert after["public_key"] == before["public_key"]
    assert after["generation"] == 1
    kinds = [kind for kind, _ in await troupe.steps_of(change["id"])]
    assert kinds == ["RefreshKey", *["ProveKey"] * 3, "Promise", "ActivateKey"]
    for signer in troupe.signers.values():
        assert len(signer.shares) == 1
        assert signer.active != old
    assert (await troupe.sign(before["id"]))["status"] == "Signed"
    assert troupe.stage.tickets[-1].generation == 1
    again = await troupe.change(before["id"], "refresh")
    assert again["status"] == "Done"
    assert (await troupe.key(before["id"]))["generation"] == 2


async def test_a_refresh_can_be_read_again_and_listed(troupe: Troupe):
    wallet = await troupe.wallet()
    body: dict[str, Any] = {"external_id": "refresh-1"}
    path = f"/v1/keys/{wallet['key_id']}"
    change = await troupe.change(wallet["key_id"], "refresh", **body)
    assert (await troupe.api.get(f"{path}/refreshes/{change['id']}")).json() == change
    assert (await troupe.api.get(f"{path}/refreshes")).json()["items"] == [change]
    assert (await troupe.api.get(f"{path}/repairs")).json()["items"] == []
    assert (await troupe.api.get(f"{path}/repairs/{change['id']}")).status_code == 404
    again = await troupe.api.post(f"{path}/refresh", json=body)
    assert (again.status_code, again.json()) == (200, change)


async def promised_in_another_life(troupe: Troupe, *names: str) -> UUID:
    """A refreshed set that all have confirmed, and these have promised, of which the control
    plane knows nothing: its database was restored from before. Returns its ceremony."""
    ceremony = uuid4()
    for signer in troupe.signers.values():
        (in_use,) = signer.active
        before = signer.shares[in_use].confirmation
        confirmation = before.model_copy(
            update={"ceremony": ceremony, "generation": before.generation + 1}
        )
        others = {*before.signers} - {signer.id}
        signer.shares[ceremony] = Share(confirmation, others, is_promised=signer.id in names)
        troupe.stage.keys[ceremony] = troupe.stage.keys[in_use]
    return ceremony


@pytest.mark.parametrize("promised", [(), ("signer-1",)])
async def test_a_set_that_nobody_remembers_is_given_up_and_another_one_made(
    troupe: Troupe, promised: tuple[str, ...]
):
    wallet = await troupe.wallet()
    forgotten = await promised_in_another_life(troupe, *promised)
    change = await troupe.change(wallet["key_id"], "refresh")
    assert change["status"] == "Done", change
    for signer in troupe.signers.values():
        assert set(signer.shares) == signer.active
        assert forgotten not in signer.active
    assert (await troupe.key(wallet["key_id"]))["generation"] == 1
    assert (await troupe.sign(wallet["key_id"]))["status"] == "Signed"


async def test_a_set_that_nobody_remembers_and_all_have_promised_is_used_and_then_refreshed(
    troupe: Troupe,
):
    wallet = await troupe.wallet()
    forgotten = await promised_in_another_life(troupe, *troupe.signers)
    change = await troupe.change(wallet["key_id"], "refresh")
    assert change["status"] == "Done", change
    assert all(forgotten in signer.erased for signer in troupe.signers.values())
    assert (await troupe.key(wallet["key_id"]))["generation"] == 2
    assert (await troupe.sign(wallet["key_id"]))["status"] == "Signed"


@pytest.mark.parametrize("then", ["sign", "refresh"])
async def test_a_refresh_that_the_control_plane_has_forgotten_is_learnt_from_the_signers(
    troupe: Troupe, then: str
):
    """Its database was restored from before the refresh."""
    wallet = await troupe.wallet()
    of_key = keys.c.id == UUID(wallet["key_id"])
    (before,) = await troupe.rows(keys, of_key)
    assert (await troupe.change(wallet["key_id"], "refresh"))["status"] == "Done"
    (after,) = await troupe.rows(keys, of_key)
    async with troupe.conducting.replica.engine.begin() as connection:
        old = {"generation": before.generation, "share_set_id": before.share_set_id}
        await connection.execute(update(keys).where(of_key).values(old))
    if then == "sign":
        assert (await troupe.sign(wallet["key_id"]))["status"] == "Signed"
        (learnt,) = await troupe.rows(keys, of_key)
        assert (learnt.generation, learnt.share_set_id) == (after.generation, after.share_set_id)
    else:
        assert (await troupe.change(wallet["key_id"], "refresh"))["status"] == "Done"
        assert (await troupe.key(wallet["key_id"]))["generation"] == after.generation + 1


async def test_a_lying_signer_cannot_have_a_refresh_done_that_was_not(troupe: Troupe):
    """It says that the set in use is in its way."""
    wallet = await troupe.wallet()
    (in_use,) = troupe[3].active
    here = SetOfShares(ceremony=in_use, generation=0)
    lie = NotDone(OutcomeStatus.FAILED, "set_pending", transient=True, shares=here)
    troupe[3].on[JobKind.REFRESH_KEY] = always(lie)
    change = await troupe.change(wallet["key_id"], "refresh", wait=0)
    await troupe.until(lambda: troupe.has_failed(change["id"]))
    troupe[3].on.clear()
    path = f"/v1/keys/{wallet['key_id']}/refreshes/{change['id']}?wait=20"
    done = (await troupe.api.get(path)).json()
    assert done["status"] == "Done"
    assert (await troupe.key(wallet["key_id"]))["generation"] == 1
    assert all(in_use in signer.erased for signer in troupe.signers.values())


@pytest.mark.parametrize("kind", [JobKind.PROMISE, JobKind.ACTIVATE_KEY])
async def test_an_order_that_is_refused_is_not_given_again_and_again(troupe: Troupe, kind: JobKind):
    """As while an operator has taken a pin away."""
    troupe[2].on[kind] = always(denied("bad_evidence"))
    pending = await troupe.wallet(wait=0)
    await troupe.until(lambda: any(job.kind == kind for job in troupe[2].taken))
    await asyncio.sleep(1)  # orders, which must not come, show by nothing else
    assert sum(job.kind == kind for job in troupe[2].taken) <= 5
    troupe[2].on.clear()
    path = f"/v1/wallets/{pending['id']}?wait=30"
    assert (await troupe.api.get(path)).json()["status"] == "Active"


async def test_a_signer_that_lost_a_promised_share_is_repaired_afterwards(troupe: Troupe):
    wallet = await troupe.wallet()
    lost: list[bool] = []

    def lose(job: Job, _: Ticket | None) -> None:
        lost.append(True)
        del troupe[3].shares[UUID(str(job.ceremony))]
        raise failed("no_share", transient=False)

    troupe[3].on[JobKind.ACTIVATE_KEY] = lambda job, ticket: None if lost else lose(job, ticket)
    change = await troupe.change(wallet["key_id"], "refresh")
    assert change["status"] == "Done", change
    assert troupe[1].active == troupe[2].active != troupe[3].active
    assert (await troupe.sign(wallet["key_id"]))["status"] == "Signed"


async def test_the_old_shares_sign_until_the_new_ones_are_confirmed(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[3].on[JobKind.REFRESH_KEY] = always(failed("database_away"))
    change = await troupe.change(wallet["key_id"], "refresh", wait=0)
    await troupe.until(lambda: troupe.has_failed(change["id"]))
    signed = await troupe.sign(wallet["key_id"])
    assert signed["status"] == "Signed"
    troupe[3].on.clear()
    path = f"/v1/keys/{wallet['key_id']}/refreshes/{change['id']}?wait=20"
    assert (await troupe.api.get(path)).json()["status"] == "Done"


async def test_signing_goes_on_while_a_signer_is_away_from_the_activation(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[2].on[JobKind.ACTIVATE_KEY] = always(failed("database_away"))
    change = await troupe.change(wallet["key_id"], "refresh", wait=0)
    await troupe.until(lambda: troupe.has_failed(change["id"]))
    await troupe[2].stop()
    for number in range(3):
        signed = await troupe.sign(wallet["key_id"], f"message {number}")
        assert signed["status"] == "Signed"
        assert troupe.stage.tickets[-1].generation == 1
    assert (await troupe.key(wallet["key_id"]))["generation"] == 0
    await troupe.expire(change["id"])
    await asyncio.sleep(1.5)  # longer than a sweep: the step continues nevertheless
    troupe[2].on.clear()
    await troupe[2].start()
    path = f"/v1/keys/{wallet['key_id']}/refreshes/{change['id']}?wait=20"
    assert (await troupe.api.get(path)).json()["status"] == "Done"
    assert (await troupe.key(wallet["key_id"]))["generation"] == 1


async def asked(troupe: Troupe, key_id: str, what: str, **body: str) -> httpx.Response:
    return await troupe.api.post(f"/v1/keys/{key_id}/{what}", json=body)


def refused_for(response: httpx.Response, change: dict[str, Any]) -> bool:
    """Whether it was refused with the name of the one that is under way."""
    problem = response.json()
    is_refused = (response.status_code, problem.get("code")) == (409, "change_under_way")
    return is_refused and change["id"] in problem["detail"]


async def test_a_second_refresh_is_refused_with_the_name_of_the_one_under_way(troupe: Troupe):
    wallet = await troupe.wallet()
    key_id = wallet["key_id"]
    await troupe[3].stop()
    change = await troupe.change(key_id, "refresh", wait=0, external_id="first")
    assert refused_for(await asked(troupe, key_id, "refresh"), change)
    assert refused_for(await asked(troupe, key_id, "refresh", external_id="second"), change)
    again = await asked(troupe, key_id, "refresh", external_id="first")
    assert (again.status_code, again.json()["id"]) == (200, change["id"])
    await troupe[3].start()
    path = f"/v1/keys/{key_id}/refreshes/{change['id']}"
    assert (await troupe.api.get(f"{path}?wait=30")).json()["status"] == "Done"
    # what was refused has not taken its external id
    assert (await troupe.change(key_id, "refresh", external_id="second"))["status"] == "Done"


async def test_of_many_refreshes_at_once_one_is_under_way(troupe: Troupe):
    wallet = await troupe.wallet()
    await troupe[3].stop()
    answers = await asyncio.gather(*(asked(troupe, wallet["key_id"], "refresh") for _ in range(12)))
    [made] = [each.json() for each in answers if each.status_code == 201]
    assert sum(refused_for(each, made) for each in answers) == 11


async def test_a_repair_follows_a_refresh_and_nothing_follows_a_repair(troupe: Troupe):
    wallet = await troupe.wallet()
    key_id = wallet["key_id"]
    troupe[2].shares.clear()
    await troupe[3].stop()
    refresh = await troupe.change(key_id, "refresh", wait=0)
    repair = await troupe.change(key_id, "repair", wait=0, signer="signer-2")
    assert refused_for(await asked(troupe, key_id, "refresh"), refresh)
    assert refused_for(await asked(troupe, key_id, "repair", signer="signer-1"), repair)
    await troupe.expire(refresh["id"])
    await troupe[3].start()
    path = f"/v1/keys/{key_id}/repairs/{repair['id']}"
    assert (await troupe.api.get(f"{path}?wait=30")).json()["status"] == "Done"


async def test_one_no_of_all_n_rejects_a_refresh(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[2].on[JobKind.REFRESH_KEY] = always(denied("gate_rejected"))
    change = await troupe.change(wallet["key_id"], "refresh")
    assert change["status"] == "Rejected"
    assert (change["reason"]["code"], change["reason"]["node"]) == ("gate_rejected", "signer-2")
    await troupe.until(lambda: all(len(each.shares) == 1 for each in troupe.signers.values()))
    assert (await troupe.sign(wallet["key_id"]))["status"] == "Signed"


@CALM
async def test_a_lost_share_is_repaired_by_the_others_and_all_are_refreshed(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[2].shares.clear()
    change = await troupe.change(wallet["key_id"], "repair", signer="signer-2")
    assert (change["status"], change["signer"]) == ("Done", "signer-2")
    kinds = [kind for kind, _ in await troupe.steps_of(change["id"])]
    assert kinds == ["RepairShare", "RefreshKey", *["ProveKey"] * 3, "Promise", "ActivateKey"]
    repair = next(each for each in troupe.stage.tickets if each.kind is CeremonyKind.REPAIR)
    assert (len(repair.participants), repair.target, repair.generation) == (3, 2, 0)
    assert all(len(each.active) == 1 for each in troupe.signers.values())
    assert (await troupe.key(wallet["key_id"]))["generation"] == 1


async def test_a_repair_waits_for_the_operators_that_have_not_approved(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[1].on[JobKind.REPAIR_SHARE] = always(failed("repair_not_approved"))
    change = await troupe.change(wallet["key_id"], "repair", wait=0, signer="signer-2")
    await troupe.until(lambda: troupe.has_failed(change["id"]))
    path = f"/v1/keys/{wallet['key_id']}/repairs/{change['id']}"
    shown = (await troupe.api.get(path)).json()
    assert shown["status"] != "Done"
    assert shown["reason"]["code"] == "repair_not_approved"
    assert "to blame" not in shown["reason"]["detail"]
    assert not any(await troupe.culprits_of(change["id"]))
    troupe[1].on.clear()
    assert (await troupe.api.get(f"{path}?wait=30")).json()["status"] == "Done"


async def test_what_has_no_shares_of_its_own_is_not_refreshed(troupe: Troupe):
    master = (await troupe.master())["id"]
    child = await troupe.derive(master, path="m/0")
    refused = await troupe.api.post(f"/v1/keys/{child['id']}/refresh", json={})
    assert (refused.status_code, refused.json()["code"]) == (422, "not_refreshable")
    stranger = {"signer": "signer-9"}
    refused = await troupe.api.post(f"/v1/keys/{master}/repair", json=stranger)
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_signer")
