"""Signers that fail, lie, say No or are away: others sign, or the request says why not."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, update

from custody.control_plane.access.scopes import Scope
from custody.control_plane.tables import jobs, nodes
from custody.wire.jobs import JobKind
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.node_api import NodeHealth
from custody.wire.outcomes import MadeSignature, Result
from tests.integration.conductor.conftest import GROUP, Troupe
from tests.integration.conductor.scripted_signer import denied, failed

SIGN = JobKind.SIGN


def raising(error: Exception) -> Any:
    def script(*_: object) -> None:
        raise error

    return script


async def test_a_signer_that_cannot_is_replaced(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[1].on[SIGN] = raising(failed("share_unreadable"))
    for number in range(4):
        signed = await troupe.sign(wallet["key_id"], f"message {number}")
        assert signed["status"] == "Signed"
        assert (await troupe.culprits_of(signed["id"]))[1:] in ([], [set()])
    await troupe.has_free_slots()


@pytest.mark.parametrize("name", ["signer-1", "signer-2", "signer-3"])
async def test_each_signer_may_be_away(troupe: Troupe, name: str):
    wallet = await troupe.wallet()
    await troupe.signers[name].stop()
    signed = await troupe.sign(wallet["key_id"])
    assert signed["status"] == "Signed"


async def test_a_signer_that_takes_a_task_and_falls_silent_is_named_by_the_other(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[2].crash_on = {SIGN}
    troupe[1].on[SIGN] = raising(failed("peer_silent", "signer-2"))
    troupe[3].on[SIGN] = raising(failed("peer_silent", "signer-2"))
    pending = await troupe.sign(wallet["key_id"], wait=0)
    path = f"/v1/keys/{wallet['key_id']}/signatures/{pending['id']}"

    async def blamed() -> bool:
        reason = (await troupe.api.get(path)).json()["reason"]
        return reason is not None and "to blame: signer-2" in reason["detail"]

    await troupe.until(blamed)
    troupe[1].on.clear()
    troupe[3].on.clear()
    assert (await troupe.api.get(path + "?wait=20")).json()["status"] == "Signed"


@pytest.mark.parametrize(
    ("status", "words"),
    [("degraded", "freeze: frozen by greta: lost laptop"), ("failing", "was told to stop")],
)
async def test_a_signer_frozen_or_stopping_is_chosen_for_nothing_and_the_api_says_why(
    troupe: Troupe, status: str, words: str
):
    wallet = await troupe.wallet()
    await troupe[1].stop()
    troupe[2].health = NodeHealth(status=status, detail=words)
    await troupe[2].beat()
    pending = await troupe.sign(wallet["key_id"], wait=0)
    path = f"/v1/keys/{wallet['key_id']}/signatures/{pending['id']}"

    async def says_why() -> bool:
        reason = (await troupe.api.get(path)).json()["reason"] or {}
        return words in reason.get("detail", "")

    await troupe.until(says_why)
    troupe[2].health = NodeHealth(status="ok")
    await troupe[2].beat()
    assert (await troupe.api.get(path + "?wait=20")).json()["status"] == "Signed"


async def test_an_ordinary_token_is_told_how_many_are_there_and_not_who_froze_what(troupe: Troupe):
    wallet = await troupe.wallet()
    await troupe[1].stop()
    words = "freeze: frozen by greta: lost laptop"
    troupe[2].health = NodeHealth(status="degraded", detail=words)
    await troupe[2].beat()
    replica = troupe.conducting.replica
    scopes = (Scope.READ, Scope.WALLETS, Scope.SIGN)
    application = replica.client((await replica.token(scopes)).text)
    pending = await troupe.sign(wallet["key_id"], wait=0)
    path = f"/v1/keys/{wallet['key_id']}/signatures/{pending['id']}"

    async def is_waiting() -> bool:
        reason = (await application.get(path)).json()["reason"] or {}
        return reason.get("code") == "waiting_for_signers"

    await troupe.until(is_waiting)
    reason = (await application.get(path)).json()["reason"]
    assert reason["detail"] == "1 of the 2 signers needed are there"
    for listed in ("/v1/signers", "/v1/nodes", f"/v1/keys/{wallet['key_id']}/signatures"):
        text = (await application.get(listed)).text
        assert "greta" not in text
        assert "owner-" not in text


async def test_an_ordinary_token_is_told_why_its_request_was_rejected(troupe: Troupe):
    wallet = await troupe.wallet()
    for index in (1, 2):
        troupe[index].on[SIGN] = raising(denied("gate_rejected"))
    replica = troupe.conducting.replica
    troupe.api = replica.client((await replica.token((Scope.READ, Scope.SIGN))).text)
    rejected = await troupe.sign(wallet["key_id"])
    assert rejected["reason"] == {
        "code": "gate_rejected",
        "detail": "because of gate_rejected (2 of 3 signers are needed)",
        "node": None,
    }


async def test_too_few_signers_leave_it_pending_until_one_comes_back(troupe: Troupe):
    wallet = await troupe.wallet()
    for index in (1, 2):
        await troupe[index].stop()
    pending = await troupe.sign(wallet["key_id"], wait=0)
    path = f"/v1/keys/{wallet['key_id']}/signatures/{pending['id']}"

    async def says_who() -> bool:
        shown = (await troupe.api.get(path)).json()
        reason = shown["reason"] or {}
        return reason.get("code") == "waiting_for_signers" and shown["status"] == "Pending"

    await troupe.until(says_who)
    reason = (await troupe.api.get(path)).json()["reason"]
    assert reason["detail"] == ("1 of the 2 signers needed are there (away: signer-1, signer-2)")
    await troupe[1].start()
    assert (await troupe.api.get(path + "?wait=20")).json()["status"] == "Signed"


async def test_one_no_takes_that_signer_out_alone(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[1].on[SIGN] = raising(denied("gate_rejected"))
    for number in range(4):
        signed = await troupe.sign(wallet["key_id"], f"message {number}")
        assert signed["status"] == "Signed"


async def test_a_request_is_rejected_when_too_few_can_still_say_yes(troupe: Troupe):
    wallet = await troupe.wallet()
    for index in (1, 2):
        troupe[index].on[SIGN] = raising(denied("gate_rejected"))
    rejected = await troupe.sign(wallet["key_id"])
    assert rejected["status"] == "Rejected"
    assert rejected["reason"] == {
        "code": "gate_rejected",
        "detail": "signer-1: because of gate_rejected; signer-2: because of gate_rejected "
        "(2 of 3 signers are needed)",
        "node": None,
    }


async def test_a_request_that_too_few_can_do_fails_and_says_who(troupe: Troupe):
    wallet = await troupe.wallet()
    for index in (1, 3):
        troupe[index].on[SIGN] = raising(failed("no_share", transient=False))
    ended = await troupe.sign(wallet["key_id"])
    assert (ended["status"], ended["reason"]["code"]) == ("Failed", "no_share")
    assert "signer-1: because of no_share; signer-3" in ended["reason"]["detail"]


async def test_a_signature_that_does_not_verify_is_its_signers_fault(troupe: Troupe):
    wallet = await troupe.wallet()

    def wrong(job: Any, result: Result) -> Result:
        if isinstance(result, MadeSignature) and job.kind == SIGN:
            signature = result.signature.model_copy(update={"s": bytes(31) + b"\x01"})
            return result.model_copy(update={"signature": signature})
        return result

    troupe[1].spoil = wrong
    troupe[3].on[SIGN] = raising(failed("share_unreadable"))
    signed = await troupe.sign(wallet["key_id"])
    assert signed["status"] == "Signed"

    async def is_named() -> bool:
        culprits = await troupe.culprits_of(signed["id"])
        return "signer-1" in set().union(*culprits)

    await troupe.until(is_named)


async def test_banned_pairs_never_sign_together(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[1].ban("signer-2", UUID(wallet["key_id"]))
    await troupe[1].beat()
    assert await troupe.banned() == {("signer-1", "signer-2")}
    troupe.stage.tickets.clear()
    for number in range(8):
        assert (await troupe.sign(wallet["key_id"], f"m {number}"))["status"] == "Signed"
    for ticket in troupe.stage.tickets:
        assert "signer-3" in {each.signer for each in ticket.participants}
    shown = (await troupe.api.get("/v1/signers")).json()["items"]
    assert [ban["banned"] for ban in shown[0]["bans"]] == ["signer-2"]


async def test_bans_that_leave_no_quorum_end_a_request(troupe: Troupe):
    master = (await troupe.master())["id"]
    child = await troupe.derive(master, path="m/1")
    for banning, banned in ((1, 2), (2, 3), (3, 1)):
        troupe[banning].ban(f"signer-{banned}", UUID(master))
        await troupe[banning].beat()
    for key_id in (master, child["id"]):
        ended = await troupe.sign(key_id, hash_function="SHA-256")
        assert (ended["status"], ended["reason"]["code"]) == ("Failed", "no_quorum_left")
    other = await troupe.wallet()
    assert (await troupe.sign(other["key_id"]))["status"] == "Signed"


async def test_a_ban_told_in_an_outcome_counts_before_it_is_stated(troupe: Troupe):
    wallet = await troupe.wallet()

    def bans_signer_2(_: object, ticket: Any) -> None:
        if any(each.signer == "signer-2" for each in ticket.participants):
            raise failed("banned_counterparty", "signer-2")

    troupe[1].on[SIGN] = bans_signer_2
    for number in range(6):
        signed = await troupe.sign(wallet["key_id"], f"message {number}")
        assert signed["status"] == "Signed"
        attempts = await troupe.signers_of(signed["id"])
        assert attempts.count({"signer-1", "signer-2"}) <= 1


async def test_what_a_signer_left_in_flight_waits_for_its_operator_and_names_the_command(
    troupe: Troupe,
):
    wallet = await troupe.wallet()
    key_id = UUID(wallet["key_id"])
    now = datetime.now(UTC)
    left = LeftInFlight(key_id=key_id, signer="signer-2", since=now)
    troupe[1].left_in_flight = (left, LeftInFlight(key_id=uuid4(), signer="signer-3", since=now))
    await troupe[1].beat()
    for number in range(4):
        signed = await troupe.sign(wallet["key_id"], f"message {number}")
        assert signed["status"] == "Signed"
        assert {"signer-1", "signer-2"} not in await troupe.signers_of(signed["id"])
    await troupe[3].stop()
    pending = await troupe.sign(wallet["key_id"], wait=0)
    path = f"/v1/keys/{key_id}/signatures/{pending['id']}"
    command = f"mpc-signer bans resolve {key_id} signer-2 --clear"

    async def says_what_to_do() -> bool:
        shown = (await troupe.api.get(path)).json()
        assert shown["status"] in {"Pending", "Executing"}  # the one that is away is tried first
        reason = shown["reason"] or {}
        return reason.get("code") == "left_in_flight" and command in reason["detail"]

    await troupe.until(says_what_to_do)
    shown = (await troupe.api.get("/v1/signers")).json()["items"][0]["left_in_flight"]
    assert (shown[0]["key_id"], shown[0]["signer"]) == (str(key_id), "signer-2")
    assert f"on signer-1's host: {command}" in shown[0]["todo"]

    troupe[1].left_in_flight = None  # its database is away: it does not know
    await troupe[1].beat()
    assert (await troupe.api.get(path + "?wait=1")).json()["status"] == "Pending"
    troupe[1].left_in_flight = ()
    await troupe[1].beat()
    assert (await troupe.api.get(path + "?wait=20")).json()["status"] == "Signed"


async def test_nobody_outside_a_group_holds_its_requests_up(troupe: Troupe):
    """Neither a node of no group of the key, nor what a member says of such a node."""
    wallet = await troupe.wallet()
    key_id, now = wallet["key_id"], datetime.now(UTC).isoformat()

    def left(*signers: str) -> list[dict[str, str]]:
        return [{"key_id": key_id, "signer": each, "since": now} for each in signers]

    said = left("outsider", "x y", "x", "signer-1", "signer-1")
    troupe[1].left_in_flight = None  # heartbeats leave what is written here
    async with troupe.conducting.replica.engine.begin() as connection:
        outsider = {"id": "outsider", "node_group": GROUP, "left_in_flight": left("signer-1")}
        await connection.execute(insert(nodes).values(outsider))
        ours = nodes.c.id == "signer-1"
        await connection.execute(update(nodes).where(ours).values(left_in_flight=said))
    assert (await troupe.sign(key_id))["status"] == "Signed"
    assert (await troupe.change(key_id, "refresh"))["status"] == "Done"


async def test_a_request_that_cannot_be_read_is_held_alone(troupe: Troupe):
    wallet = await troupe.wallet()
    await troupe.conducting.stop_conducting()
    broken = await troupe.sign(wallet["key_id"], wait=0)
    async with troupe.conducting.replica.engine.begin() as connection:
        of_request = jobs.c.id == UUID(broken["id"])
        await connection.execute(update(jobs).where(of_request).values(payload=b"{}"))
    troupe.conducting.start_conducting()
    assert (await troupe.sign(wallet["key_id"], "another"))["status"] == "Signed"
    row = await troupe.job_row(broken["id"])
    assert (row.state, row.run_after > row.created_at) == ("Queued", True)


async def test_one_left_in_flight_that_no_heartbeat_has_told_yet_ends_no_request(troupe: Troupe):
    """As a signer says in an outcome: neither a No nor a ban."""
    wallet = await troupe.wallet()
    met = []

    def was_left(_: object, ticket: Any) -> None:
        if any(each.signer == "signer-2" for each in ticket.participants):
            met.append(ticket)
            raise failed("left_in_flight")

    troupe[1].on[SIGN] = was_left
    for number in range(4):
        assert (await troupe.sign(wallet["key_id"], f"m {number}"))["status"] == "Signed"
    await troupe[3].stop()
    pending = await troupe.sign(wallet["key_id"], wait=0)
    before = len(met)
    await troupe.until(lambda: len(met) > before + 1)
    path = f"/v1/keys/{wallet['key_id']}/signatures/{pending['id']}"
    assert (await troupe.api.get(path)).json()["status"] in {"Pending", "Executing"}
    troupe[1].on.clear()
    assert (await troupe.api.get(path + "?wait=20")).json()["status"] == "Signed"


async def test_a_ban_by_somebody_else_is_not_believed(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe[1].ban("signer-2", UUID(wallet["key_id"]))
    troupe[3].bans = troupe[1].bans
    await troupe[3].beat()
    assert await troupe.banned() == set()
