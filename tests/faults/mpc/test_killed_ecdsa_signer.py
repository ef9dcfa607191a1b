"""DKLs23's long ceremonies with a signer killed in the middle: the next attempt is another one."""

import pytest

from custody.client import ChangeStatus, Custody, Key, KeyStatus, SignatureStatus
from custody.wire.algorithms import Store
from devstack.stack import Stack
from tests.faults.mpc.conftest import GROUP, SECONDS, nothing_is_left_over, rows
from tests.faults.mpc.test_killed_signer import AlgorithmOf, die_at_each, make_key

DIGEST = bytes(range(32))


def signs(custody: Custody, key_id) -> bool:
    made = custody.sign_hash(key_id, DIGEST, wait=SECONDS)
    return made.status is SignatureStatus.SIGNED


@pytest.fixture
def key(custody: Custody) -> Key:
    return make_key(custody, "ECDSA")


def test_an_ecdsa_key_is_made_though_a_signer_is_killed(stack: Stack, custody, victim, tmp_path):
    begun = []

    def begin() -> None:
        begun.append(
            custody.create_key(*AlgorithmOf["ECDSA"], Store.MPC, signer_group=GROUP, wait=0)
        )

    die_at_each(victim, tmp_path, [("GenerateKey", "seal 4")], begin, lambda: None)
    done = custody.get_key(begun[0].id, wait=SECONDS)
    assert done.status is KeyStatus.ACTIVE, done.reason
    nothing_is_left_over(stack, done.id)
    assert signs(custody, done.id)


def test_ecdsa_shares_are_refreshed_though_a_signer_is_killed(
    stack: Stack, custody, victim, key, tmp_path
):
    begun = []
    die_at_each(
        victim,
        tmp_path,
        [("RefreshKey", "seal 3")],
        lambda: begun.append(custody.refresh_key(key.id, wait=0)),
        lambda: None,
    )
    done = custody.get_refresh(key.id, begun[0].id, wait=SECONDS)
    assert done.status is ChangeStatus.DONE, done.reason
    assert custody.get_key(key.id).generation == 1
    nothing_is_left_over(stack, key.id)
    assert signs(custody, key.id)


def test_an_ecdsa_share_is_repaired_though_a_helper_is_killed(
    stack: Stack, custody, victim, key, tmp_path
):
    lost, helper = stack.signers["signer-1"], stack.signers["signer-3"]
    rows(lost, "DELETE FROM shares WHERE key_id = %s RETURNING key_id", key.id)
    for each in (victim, helper):
        each.run("approve", "repair", "approve", str(key.id), lost.node_id, "--reason", "lost disk")
    begun = []
    die_at_each(
        victim,
        tmp_path,
        [("RepairShare", "seal 1")],
        lambda: begun.append(custody.repair_share(key.id, lost.node_id, wait=0)),
        lambda: None,
    )
    done = custody.get_repair(key.id, begun[0].id, wait=SECONDS)
    assert done.status is ChangeStatus.DONE, done.reason
    nothing_is_left_over(stack, key.id)
    assert signs(custody, key.id)
