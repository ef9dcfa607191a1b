"""Every signer asks its own owner's gate: some deny, some take their time, some hang."""

import pytest

from custody.client import ChangeStatus, Custody, Key, Rejected, SignatureStatus
from tests.acceptance.mpc.locks.conftest import (
    NAMES,
    SECONDS,
    Locked,
    ask,
    signed,
    until_reason,
)


def test_what_all_gates_approve_is_signed_and_each_signer_has_it_in_its_audit(
    locked: Locked, custody: Custody, key: Key
) -> None:
    made = signed(key, custody.sign_message(key.id, "rent"), "rent")
    signers = locked.quorum_of(made.id)
    for name in NAMES:
        # two approvals are enough, so the third signer may never have been asked
        records = locked.audit(name, made.id)
        assert len(records) == 1 or (not records and name not in signers)
        for record in records:
            facts = [record[each] for each in ("kind", "status", "gate", "gate_reason")]
            assert facts == ["Approve", "DONE", "approve", "by policy"]
            assert record["application"] == "shop"


@pytest.mark.parametrize("denying", NAMES)
def test_one_that_denies_is_left_out_and_the_others_sign(
    locked: Locked, custody: Custody, key: Key, denying: str
) -> None:
    locked.refuse(denying)
    made = signed(key, custody.sign_message(key.id, "payout 1"), "payout 1")
    assert locked.quorum_of(made.id) == set(NAMES) - {denying}


def test_two_that_deny_have_it_rejected_with_who_and_why(
    locked: Locked, custody: Custody, key: Key
) -> None:
    locked.refuse("signer-1", "signer-3")
    with pytest.raises(Rejected) as caught:
        custody.sign_message(key.id, "payout 2")
    reason = caught.value.resource.reason
    assert reason is not None
    assert reason.code == "gate_rejected"
    for name in ("signer-1", "signer-3"):
        assert (
            f"{name}: the owner's gate rejected the request: the message has 'payout'"
            in reason.detail
        )
    assert "signer-2" not in reason.detail
    assert locked.has_signed(caught.value.resource.id) == set()


def test_while_one_owner_has_not_decided_the_others_sign(
    locked: Locked, custody: Custody, key: Key
) -> None:
    locked.leave_to_a_person("signer-2")
    made = signed(key, custody.sign_message(key.id, "soon"), "soon")
    assert locked.quorum_of(made.id) == {"signer-1", "signer-3"}


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_where_the_last_one_has_not_decided_it_stays_pending_until_that_owner_does(
    locked: Locked, custody: Custody, key: Key, decision: str
) -> None:
    locked.refuse("signer-1")
    locked.leave_to_a_person("signer-2")
    asked = until_reason(custody, ask(custody, key, "payout 3"), "approval_pending")
    assert asked.status is SignatureStatus.PENDING
    assert asked.reason is not None
    assert "to blame" not in asked.reason.detail
    locked.decide("signer-2", asked.id, decision)
    if decision == "approve":
        done = custody.get_signature(key.id, asked.id, wait=SECONDS)
        signed(key, done, "payout 3")
        assert locked.quorum_of(asked.id) == {"signer-2", "signer-3"}
        return
    with pytest.raises(Rejected, match="said the owner of signer-2"):
        custody.get_signature(key.id, asked.id, wait=SECONDS)


def test_a_gate_that_hangs_holds_up_neither_its_request_nor_others(
    locked: Locked, custody: Custody, key: Key
) -> None:
    locked.gates["signer-2"].pause()
    try:
        asked = [ask(custody, key, f"bill {number}") for number in range(8)]
        for number, each in enumerate(asked):
            done = custody.get_signature(key.id, each.id, wait=SECONDS)
            signed(key, done, f"bill {number}")
            assert locked.quorum_of(each.id) == {"signer-1", "signer-3"}
    finally:
        locked.gates["signer-2"].resume()


def test_a_refresh_waits_for_every_owner(locked: Locked, custody: Custody, key: Key) -> None:
    change = custody.refresh_key(key.id, wait=0)
    for name in NAMES[:2]:
        locked.decide(name, change.id, "approve")
    signed(key, custody.sign_message(key.id, "meanwhile"), "meanwhile")
    assert custody.get_key(key.id).generation == key.generation
    locked.decide(NAMES[2], change.id, "approve")
    done = custody.get_refresh(key.id, change.id, wait=SECONDS)
    assert done.status is ChangeStatus.DONE
    signed(key, custody.sign_message(key.id, "refreshed"), "refreshed")
