"""Refresh and repair: other shares of the same key, whose earlier ones are gone."""

import time

import httpx
import psycopg
import pytest

from custody.client import ChangeStatus, Custody, Key, Rejected, SignatureStatus
from devstack.processes import LOCALHOST
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


def test_a_share_that_cannot_be_used_shows_until_it_is_repaired(stack, custody, signers):
    key = make_key(custody, "EdDSA")
    assert key.signers is not None
    damaged, other, third = (stack.signers[name] for name in key.signers)
    damaged.stop()  # it may have the share open
    with psycopg.connect(damaged.database_url) as connection:
        connection.execute("UPDATE shares SET ciphertext = 'x' WHERE key_id = %s", (key.id,))
    damaged.start()
    with frozen(custody, [other]):
        waiting = custody.sign_message(key.id, "by two, and one cannot", wait=0)
        wait_for_health(custody, damaged, "shares: 1 cannot be used; see mpc-signer shares verify")
    assert metric(damaged, "custody_unusable_shares") == 1
    signature = custody.get_signature(key.id, waiting.id, wait=SECONDS)
    assert signature.status is SignatureStatus.SIGNED
    for helper in (other, third):
        helper.run("approve a repair", *approve(key, damaged))
    assert custody.repair_share(key.id, damaged.node_id, wait=SECONDS).status is ChangeStatus.DONE
    wait_for_health(custody, damaged, None)
    assert metric(damaged, "custody_unusable_shares") == 0
    ceremonies = 'custody_ceremonies_total{end="done",kind="Repair"}'
    assert metric(damaged, ceremonies) == 1
    assert metric(damaged, "custody_bans") == metric(damaged, "custody_signing_in_flight") == 0


def wait_for_health(custody: Custody, signer: Signer, detail: str | None) -> None:
    """Until the API shows this of a signer; None: that it is well."""
    deadline = time.monotonic() + SECONDS
    while True:
        [shown] = [each.health for each in custody.list_signers() if each.id == signer.node_id]
        if (shown.status, shown.detail) == ("degraded" if detail else "ok", detail):
            return
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)


def metric(signer: Signer, name: str) -> float:
    """The value of one line of a signer's metrics."""
    said = httpx.get(f"http://{LOCALHOST}:{signer.health_port}/metrics", trust_env=False).text
    [line] = [line for line in said.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_a_repair_that_no_operator_has_approved_is_rejected(custody, keys):
    with pytest.raises(Rejected, match="repair"):
        custody.repair_share(keys["EdDSA"].id, "signer-1", wait=SECONDS)
    sign_and_check(custody, custody.get_key(keys["EdDSA"].id), b"as before")


def approve(key: Key, lost: Signer) -> list[str]:
    return ["repair", "approve", str(key.id), lost.node_id, "--reason", "its disk is gone"]
