"""Refresh and repair: other shares of the same key, whose earlier ones are gone."""

import psycopg
import pytest

from control_plane.client import ChangeStatus, Key, Rejected
from devstack.signer import Signer
from tests.acceptance.mpc.conftest import SCHEMES, frozen, make_key, sign_and_check

SECONDS = 120


def shares_at(signer: Signer, key: Key) -> dict[str, bool]:
    """By state of a signer's shares of a key, whether anything is left to open."""
    with psycopg.connect(signer.database_url) as connection:
        rows = connection.execute(
            "SELECT state, ciphertext IS NOT NULL FROM shares WHERE key_id = %s", (key.id,)
        )
        return dict(rows.fetchall())


@pytest.fixture(params=SCHEMES)
def key(request, custody) -> Key:
    """A 2-of-3 key of this test's own."""
    return make_key(custody, request.param)


def test_a_key_signs_after_a_refresh_and_the_old_shares_are_erased(stack, custody, key):
    change = custody.refresh_key(key.id, wait=SECONDS)
    assert change.status is ChangeStatus.DONE
    refreshed = custody.get_key(key.id)
    assert refreshed.public_key == key.public_key
    assert refreshed.generation == key.generation + 1
    for name in key.signers:
        assert shares_at(stack.signers[name], key) == {"active": True, "retired": False}
    for away in key.signers:  # so every new share signs
        with frozen(custody, [stack.signers[away]]):
            sign_and_check(custody, refreshed, b"with refreshed shares")


def test_a_signer_that_lost_its_share_gets_it_back(stack, custody, key):
    lost, *helpers = (stack.signers[name] for name in key.signers)
    with psycopg.connect(lost.database_url) as connection:
        connection.execute("DELETE FROM shares WHERE key_id = %s", (key.id,))
    for helper in helpers:
        helper.run("approve a repair", *approve(key, lost))
    change = custody.repair_share(key.id, lost.node_id, wait=SECONDS)
    assert change.status is ChangeStatus.DONE
    assert shares_at(lost, key)["active"]
    for helper in helpers:  # so the repaired share signs with each other one
        with frozen(custody, [helper]):
            sign_and_check(custody, custody.get_key(key.id), b"with a repaired share")


def test_a_repair_that_no_operator_has_approved_is_rejected(custody, keys):
    with pytest.raises(Rejected, match="repair"):
        custody.repair_share(keys["EdDSA"].id, "signer-1", wait=SECONDS)
    sign_and_check(custody, custody.get_key(keys["EdDSA"].id), b"as before")


def approve(key: Key, lost: Signer) -> list[str]:
    return ["repair", "approve", str(key.id), lost.node_id, "--reason", "its disk is gone"]
