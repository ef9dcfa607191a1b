"""The three phases of a set: all n are sure of it before it is used, or nothing is left over."""

from typing import Any
from uuid import UUID

import pytest

from custody.control_plane.tables import steps
from custody.wire.jobs import Job, JobKind
from custody.wire.outcomes import PreparedShare, Result
from custody.wire.signed_bytes import CONFIRMATION_TYPE
from custody.wire.statements import Confirmation
from custody.wire.tickets import Ticket
from tests.integration.conductor.conftest import CALM, Troupe
from tests.integration.conductor.scripted_signer import ScriptedSigner, failed


def left_over(troupe: Troupe) -> dict[str, set[UUID]]:
    """The sets that a signer holds and does not use."""
    return {
        name: set(signer.shares) - signer.active
        for name, signer in troupe.signers.items()
        if set(signer.shares) - signer.active
    }


async def settled(troupe: Troupe) -> bool:
    return not await troupe.rows(steps, steps.c.is_unsettled)


async def test_a_generation_that_failed_is_given_up_and_made_anew(troupe: Troupe):
    meet = troupe.stage.meet
    first: list[UUID] = []

    async def only_two_come_through(signer: str, ticket: Any) -> None:
        await meet(signer, ticket)
        first.append(ticket.ceremony)
        if ticket.ceremony == first[0] and signer == "signer-3":
            raise failed("bad_message", "signer-1")

    troupe.stage.meet = only_two_come_through  # type: ignore[method-assign]
    wallet = await troupe.wallet()
    assert wallet["status"] == "Active", wallet
    kinds = [kind for kind, _ in await troupe.steps_of(wallet["key_id"])]
    assert kinds[:3] == ["GenerateKey", "Abandon", "GenerateKey"]
    assert left_over(troupe) == {}
    assert all(signer.abandoned == {first[0]} for signer in troupe.signers.values())
    assert (await troupe.culprits_of(wallet["key_id"]))[0] == {"signer-1"}
    await troupe.until(lambda: settled(troupe))


@CALM
async def test_a_set_of_which_one_confirmation_is_lost_is_given_up_by_all(troupe: Troupe):
    lost: list[UUID] = []

    def lose_the_report(signer: ScriptedSigner) -> None:
        handle = signer._handle

        async def handled(kind: JobKind, job: Job, ticket: Any) -> Result:
            result = await handle(kind, job, ticket)
            if kind is JobKind.GENERATE_KEY and not lost:
                lost.append(ticket.ceremony)
                raise failed("delivery_unavailable")
            return result

        signer._handle = handled  # type: ignore[method-assign]

    lose_the_report(troupe[2])
    wallet = await troupe.wallet()
    assert wallet["status"] == "Active", wallet
    kinds = [kind for kind, _ in await troupe.steps_of(wallet["key_id"])]
    to_active = ["GenerateKey", *["ProveKey"] * 3, "Promise", "ActivateKey"]
    assert kinds == ["GenerateKey", "Abandon", *to_active]
    assert left_over(troupe) == {}


@pytest.mark.parametrize(
    "kind",
    [JobKind.GENERATE_KEY, JobKind.PROVE_KEY, JobKind.PROMISE, JobKind.ACTIVATE_KEY],
)
async def test_a_signer_that_crashes_in_a_step_comes_back_and_the_key_is_made(
    troupe: Troupe, kind: JobKind
):
    signer = troupe[2]
    signer.crash_on = {kind}
    pending = await troupe.wallet(wait=0)
    await troupe.until(lambda: any(job.kind == kind for job in troupe.taken))
    await signer.stop()
    assert (await troupe.key(pending["key_id"]))["status"] == "Pending"
    signer.crash_on = set()
    await signer.start()
    path = f"/v1/wallets/{pending['id']}?wait=30"
    shown = (await troupe.api.get(path)).json()
    assert shown["status"] == "Active", (shown, await troupe.steps_of(pending["key_id"]))
    assert left_over(troupe) == {}
    assert all(len(each.active) == 1 for each in troupe.signers.values())


async def test_a_key_that_two_signers_cannot_sign_with_together_is_never_active(troupe: Troupe):
    def spoiled(_: Job, ticket: Ticket | None) -> None:
        assert ticket is not None
        if {each.signer for each in ticket.participants} == {"signer-1", "signer-2"}:
            raise failed("banned_counterparty", "signer-2")

    troupe[1].on[JobKind.PROVE_KEY] = spoiled
    ended = await troupe.wallet()
    assert (ended["status"], ended["reason"]["code"]) == ("Failed", "no_quorum_left")
    assert all(not each.active for each in troupe.signers.values())


async def test_a_key_is_never_active_before_all_have_activated(troupe: Troupe):
    troupe[3].on[JobKind.ACTIVATE_KEY] = _always(failed("database_away"))
    pending = await troupe.wallet(wait=0)
    await troupe.until(lambda: len(troupe[1].active | troupe[2].active) == 1)
    await troupe.until(lambda: troupe.has_failed(pending["key_id"]))
    assert (await troupe.key(pending["key_id"]))["status"] == "Pending"
    assert (await troupe.job_row(pending["key_id"])).must_finish
    troupe[3].on.clear()
    path = f"/v1/wallets/{pending['id']}?wait=30"
    assert (await troupe.api.get(path)).json()["status"] == "Active"


async def test_a_signer_that_confirms_another_key_ends_it_and_is_named(troupe: Troupe):
    def another_key(job: Job, result: Result) -> Result:
        if not isinstance(result, PreparedShare):
            return result
        said = Confirmation.model_validate_json(result.confirmation.payload)
        lie = said.model_copy(update={"transcript": b"\x01" * 32})
        signed = troupe[2].node.signer.sign(CONFIRMATION_TYPE, lie.model_dump_json().encode())
        return PreparedShare(confirmation=signed)

    troupe[2].spoil = another_key
    ended = await troupe.wallet()
    assert (ended["status"], ended["reason"]["code"]) == ("Failed", "signers_disagree")
    assert "signer-2" in ended["reason"]["detail"]


async def test_a_confirmation_under_another_identity_is_not_believed(troupe: Troupe):
    times: list[int] = []

    def forged(job: Job, result: Result) -> Result:
        if not isinstance(result, PreparedShare) or job.kind != JobKind.GENERATE_KEY or times:
            return result
        times.append(1)
        payload = result.confirmation.payload
        return PreparedShare(confirmation=troupe[1].node.signer.sign(CONFIRMATION_TYPE, payload))

    troupe[2].spoil = forged
    wallet = await troupe.wallet()
    assert wallet["status"] == "Active", wallet
    assert (await troupe.culprits_of(wallet["key_id"]))[0] == {"signer-2"}
    assert left_over(troupe) == {}


async def test_a_request_that_expired_in_the_middle_is_cleaned_up_all_the_same(troupe: Troupe):
    troupe[3].crash_on = {JobKind.GENERATE_KEY}
    pending = await troupe.wallet(wait=0)
    await troupe.until(lambda: any(job.kind == "GenerateKey" for job in troupe.taken))
    await troupe[3].stop()
    await troupe.expire(pending["key_id"])
    path = f"/v1/keys/{pending['key_id']}?wait=20"
    shown = (await troupe.api.get(path)).json()
    assert (shown["status"], shown["reason"]["code"]) == ("Failed", "expired")
    await troupe.until(lambda: troupe[1].abandoned and troupe[2].abandoned)
    assert not await settled(troupe)
    troupe[3].crash_on = set()
    await troupe[3].start()
    await troupe.until(lambda: settled(troupe))
    assert all(signer.shares == {} for signer in troupe.signers.values())


def _always(error: Exception) -> Any:
    def script(*_: object) -> None:
        raise error

    return script
