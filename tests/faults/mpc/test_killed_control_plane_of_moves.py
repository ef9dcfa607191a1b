"""The control plane killed at each point of an import, a copy, an archival and a further wallet.

As in test_killed_control_plane.py: one request survives all kills of a test, and is done once.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from custody.client import (
    ChangeStatus,
    Curve,
    Custody,
    Key,
    KeyChange,
    KeyStatus,
    Network,
    PrivateKey,
    Scheme,
    Store,
)
from custody.wire.algorithms import ECDSA_SECP256K1
from devstack.control_plane import ControlPlane
from devstack.stack import Stack
from tests.faults.mpc.conftest import GROUP, SECONDS, SIGNERS, is_active_everywhere, rows
from tests.faults.mpc.test_killed_control_plane import die_at_each, ends_clean
from tests.second_opinion import Wanted, check_signature, check_wallet

HASH = bytes(range(32))


@pytest.fixture
def key(custody: Custody) -> Key:
    return custody.create_key(
        Scheme.SCHNORR, Curve.SECP256K1, Store.MPC, signer_group=GROUP, wait=SECONDS
    )


def signs(custody: Custody, key: Key) -> None:
    """Another library verifies the signature."""
    check_signature(key, Wanted("Hash", HASH), custody.sign_hash(key.id, HASH, wait=SECONDS))


@pytest.mark.timeout(300)
def test_a_key_is_imported_wherever_the_control_plane_is_killed(
    stack: Stack, plane: ControlPlane, tmp_path: Path
):
    private_key = PrivateKey(ECDSA_SECP256K1, HASH)
    deaths = [
        ("PrepareImport", "begun"),
        ("PrepareImport", "recorded"),
        ("PrepareImport", "ending"),
        ("ImportKey", "added"),
        ("ImportKey", "committed"),
        ("ImportKey", "begun"),
        ("ImportKey", "reported"),
        ("Promise", "recorded"),
        ("ImportKey", "ending"),
    ]
    with stack.client(pinned_nodes=stack.pinned_nodes) as custody:
        made = die_at_each(
            plane,
            tmp_path,
            deaths,
            lambda: custody.import_key(private_key, Store.MPC, signer_group=GROUP, wait=0),
        )
        made = custody.get_key(made.id, wait=SECONDS)
        assert (made.public_key, made.imported) == (private_key.public_key, True)
        assert [key.id for key in custody.list_keys() if key.public_key == made.public_key] == [
            made.id
        ]
        assert is_active_everywhere(stack, made.id)
        ends_clean(stack, made.id, made.id)
        signs(custody, made)
    for signer in stack.signers.all:
        assert rows(signer, "SELECT FROM import_keys WHERE key_id = %s", made.id) == []


@pytest.mark.timeout(300)
def test_a_key_is_copied_wherever_the_control_plane_is_killed(
    stack: Stack, custody: Custody, plane: ControlPlane, key: Key, tmp_path: Path
):
    custody.create_signer_group("all-of-them", SIGNERS, 3)
    deaths = [
        ("CopyKey", "added"),
        ("CopyKey", "committed"),
        ("PrepareImport", "reported"),
        ("DealShares", "planned"),
        ("DealShares", "begun"),
        ("DealShares", "recorded"),
        ("CopyKey", "begun"),
        ("CopyKey", "recorded"),
        ("ProveKey", "reported"),
        ("Promise", "begun"),
        ("ActivateKey", "recorded"),
        ("CopyKey", "ending"),
    ]
    copy = die_at_each(
        plane, tmp_path, deaths, lambda: custody.copy_key(key.id, "all-of-them", wait=0)
    )
    copy = custody.get_key(copy.id, wait=SECONDS)
    assert (copy.status, copy.public_key) == (KeyStatus.ACTIVE, key.public_key)
    assert custody.get_key(key.id).copies == (copy.id,)
    assert is_active_everywhere(stack, copy.id)
    ends_clean(stack, copy.id, copy.id)
    signs(custody, copy)
    signs(custody, key)


@pytest.mark.timeout(300)
def test_a_key_is_archived_wherever_the_control_plane_is_killed(
    stack: Stack, custody: Custody, plane: ControlPlane, key: Key, tmp_path: Path
):
    def change(kind: str, ask: Callable[..., KeyChange], read: Callable[..., KeyChange]) -> None:
        deaths = [(kind, "begun"), (kind, "recorded"), (kind, "ending")]
        begun = die_at_each(plane, tmp_path, deaths, lambda: ask(key.id, wait=0))
        done = read(key.id, begun.id, wait=SECONDS)
        assert done.status is ChangeStatus.DONE
        assert (custody.get_key(key.id).archived_at is not None) == (kind == "ArchiveKey")

    change("ArchiveKey", custody.archive_key, custody.get_archival)
    change("UnarchiveKey", custody.unarchive_key, custody.get_unarchival)
    numbers = "SELECT number FROM archivals WHERE root_id = %s ORDER BY number"
    for signer in stack.signers.all:
        assert rows(signer, numbers, key.id) == [(1,), (2,)]
    signs(custody, key)


def test_a_wallet_is_added_once_wherever_the_control_plane_is_killed(
    custody: Custody, plane: ControlPlane, key: Key, tmp_path: Path
):
    deaths = [("AddWallet", "added"), ("AddWallet", "committed")]
    wallet = die_at_each(
        plane,
        tmp_path,
        deaths,
        lambda: custody.add_wallet(key.id, Network.BITCOIN, tags=["added"]),
    )
    assert [each.id for each in custody.list_wallets(tags=["added"])] == [wallet.id]
    check_wallet(wallet, key.model_copy(update={"network": wallet.network}))  # a bare key has none
