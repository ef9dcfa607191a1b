"""DKLs23's long ceremonies with a signer killed in the middle: the next attempt is another one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from custody.client import ChangeStatus, Custody, Key, KeyStatus, SignatureStatus
from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import ECDSA_SECP256K1, Store
from devstack.signer import Signer
from devstack.stack import Stack
from tests.acceptance.conftest import raw_client
from tests.faults.mpc.conftest import GROUP, SECONDS, nothing_is_left_over, rows, run_as_always
from tests.faults.mpc.test_killed_signer import AlgorithmOf, die_at_each, make_key
from tests.importing import import_bare_key, sealed

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


def test_an_ecdsa_key_is_imported_though_a_signer_is_killed(
    stack: Stack, custody: Custody, victim, tmp_path
):
    private_key = PrivateKey(ECDSA_SECP256K1, DIGEST)
    made: list[UUID] = []

    def begin() -> None:
        made.append(UUID(import_bare_key(api, private_key, imported, GROUP, wait=0)["id"]))

    deaths = [("ImportKey", "seal 3"), ("ImportKey", "committed"), ("ActivateKey", "handled")]
    with raw_client(stack) as api:
        imported = sealed(api, private_key, GROUP)
        die_at_each(victim, tmp_path, deaths, begin, lambda: None)
    done = custody.get_key(made[0], wait=SECONDS)
    assert (done.status, done.public_key) == (KeyStatus.ACTIVE, private_key.public_key)
    nothing_is_left_over(stack, done.id)
    assert signs(custody, done.id)


OLD, NEW = ("signer-1", "signer-2"), ("signer-1", "signer-3")
DEATHS_OF_COPY = {
    "signer-2": [("DealShares", "handled"), ("DealShares", "committed")],
    "signer-3": [
        ("PrepareImport", "committed"),
        ("CopyKey", "seal 3"),
        ("CopyKey", "committed"),
        ("Promise", "committed"),
        ("ActivateKey", "handled"),
    ],
}
"""Of the signer that is only in the old group, and of the one that is only in the new group."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", DEATHS_OF_COPY)
def test_an_ecdsa_key_is_copied_though_a_signer_of_one_group_is_killed(
    stack: Stack, custody: Custody, running: Callable[[str], Signer], tmp_path: Path, name: str
):
    for group, signers in (("old-pair", OLD), ("new-pair", NEW)):
        custody.create_signer_group(group, list(signers), 2)
    key = custody.create_key(
        *AlgorithmOf["ECDSA"], Store.MPC, signer_group="old-pair", wait=SECONDS
    )
    made: list[UUID] = []

    def begin() -> None:
        with raw_client(stack) as api:
            asked = api.post(f"/v1/keys/{key.id}/copy", json={"signer_group": "new-pair"})
            assert asked.status_code == 201, asked.text
            made.append(UUID(asked.json()["id"]))

    die_at_each(running(name), tmp_path, DEATHS_OF_COPY[name], begin, lambda: None)
    copy = custody.get_key(made[0], wait=SECONDS)
    assert copy.status is KeyStatus.ACTIVE, copy.reason
    assert (copy.public_key, copy.chain_code) == (key.public_key, key.chain_code)
    in_use = set()
    for signer in (stack.signers[each] for each in NEW):
        states = rows(signer, "SELECT state, ceremony FROM shares WHERE key_id = %s", copy.id)
        assert {state for state, _ in states} <= {"active", "discarded", "abandoned"}
        in_use |= {ceremony for state, ceremony in states if state == "active"}
        assert rows(signer, "SELECT FROM import_keys WHERE import_id = %s", copy.id) == []
    assert len(in_use) == 1
    assert rows(stack.signers["signer-2"], "SELECT FROM shares WHERE key_id = %s", copy.id) == []
    assert signs(custody, copy.id)
    assert signs(custody, key.id)


@pytest.fixture
def running(stack: Stack) -> Iterator[Callable[[str], Signer]]:
    """Gives a signer by name, which runs as always at the test's end."""
    given: list[Signer] = []

    def give(name: str) -> Signer:
        given.append(stack.signers[name])
        return given[-1]

    yield give
    for signer in given:
        run_as_always(signer)
