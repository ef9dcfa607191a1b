"""The control plane's database is restored from an older backup, and reconciled with the nodes."""

import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from custody.client import (
    AddressType,
    Curve,
    Custody,
    KeyArchived,
    Network,
    PinnedGroup,
    PinnedNodes,
    Scheme,
    Store,
)
from custody.wire.resources import KeyStatus, Signature, SignatureStatus
from devstack.control_plane import ControlPlane, ControlPlaneOptions
from devstack.postgres import Cluster
from devstack.service import start_together, stop_together
from devstack.stack import Stack
from tests.commands import run_command
from tests.second_opinion import Wanted, check_signature

SECONDS = 60


def reconcile(control_plane: ControlPlane, *words: str, status: int) -> Any:
    done = run_command(control_plane.command("reconcile", "--json", "--wait", str(SECONDS), *words))
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def kinds(differences: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the ids of the differences by kind."""
    found: dict[str, set[str]] = {}
    for each in differences:
        found.setdefault(each["kind"], set()).add(each["id"])
    return found


class Backups:
    """Backs the control plane's database up, and has the stack use the backup."""

    def __init__(self, cluster: Cluster, stack: Stack) -> None:
        self._cluster = cluster
        self._stack = stack
        self._names: list[str] = []

    def back_up(self) -> str:
        """Copy the database, while no replica runs, and return the copy's URL."""
        url = self._stack.databases.control_plane
        name = f"backup_{len(self._names)}_{url.rpartition('/')[2]}"
        self._names.append(name)
        stop_together(self._stack.control_planes)
        copy = self._cluster.create_database(name, url.rpartition("/")[2])
        start_together(self._stack.control_planes)
        return copy

    def restore(self, backup: str) -> None:
        """Stop every replica, and name the backup in its configuration."""
        stop_together(self._stack.control_planes)
        for replica in self._stack.control_planes:
            text = replica.config.read_text()
            replica.config.write_text(text.replace(self._stack.databases.control_plane, backup))

    def drop(self) -> None:
        for name in self._names:
            self._cluster.drop_database(name)


@pytest.fixture
def stack(make_stack: Any) -> Stack:
    options = ControlPlaneOptions(lease_seconds=2)
    stack: Stack = make_stack(drivers=1, signers=2, control_plane=options)
    return stack


@pytest.fixture
def backups(stack: Stack, postgres: Cluster) -> Iterator[Backups]:
    backups = Backups(postgres, stack)
    yield backups
    stack.stop()
    backups.drop()


def until_signed(custody: Custody, asked: Signature) -> Signature:
    found = custody.get_signature(asked.key_id, asked.id, wait=SECONDS)
    assert found.status is SignatureStatus.SIGNED, found
    return found


def test_what_only_the_nodes_have_comes_back(stack: Stack, backups: Backups) -> None:
    [control_plane], [driver] = stack.control_planes, stack.drivers
    with stack.client() as custody:
        custody.create_signer_group("two", ["signer-1", "signer-2"], 2)
        old = custody.create_wallet(Network.ETHEREUM)
        shared = custody.create_key(
            Scheme.EDDSA, Curve.ED25519, Store.MPC, signer_group="two", wait=SECONDS
        )
        retired = custody.create_key(Scheme.ECDSA, Curve.SECP256K1)
        driver.stop()
        asked = custody.sign_message(old.key_id, "asked before the backup", wait=0)
    backup = backups.back_up()
    driver.start()
    with stack.client() as custody:
        signed = until_signed(custody, asked)
        wallet = custody.create_wallet(Network.BITCOIN, external_id="user-17")
        bare = custody.create_key(Scheme.ECDSA, Curve.SECP256R1)
        taproot = custody.create_wallet(
            Network.BITCOIN,
            Store.MPC,
            signer_group="two",
            address_type=AddressType.P2TR,
            wait=SECONDS,
        )
        unknown = custody.sign_message(wallet.key_id, "asked after the backup")
        custody.refresh_key(shared.id, wait=SECONDS)
        refreshed = custody.get_key(shared.id)
        custody.archive_key(retired.id)
    assert refreshed.generation == 1
    new_keys = {str(wallet.key_id), str(bare.id), str(taproot.key_id)}

    backups.restore(backup)
    before = rows_of(backup)
    found = reconcile(control_plane, status=3)
    assert kinds(found["differences"]) == {
        "unknown_key": new_keys,
        "outcome": {str(asked.id)},
        "share_set": {str(shared.id)},
        "archived": {str(retired.id)},
        "unknown_signature": {str(unknown.id)},
    }
    assert found["answered"] == ["hsm-driver", "signer-1", "signer-2"]
    assert rows_of(backup) == before  # nothing was changed

    applied = reconcile(control_plane, "--apply", "--application", "local", status=3)
    assert kinds(applied["repaired"]) == {
        "unknown_key": new_keys,
        "outcome": {str(asked.id)},
        "share_set": {str(shared.id)},
        "archived": {str(retired.id)},
    }
    assert kinds(applied["differences"]) == {"unknown_signature": {str(unknown.id)}}
    said = records_of(backup)
    assert {each["application"] for each in said} == {"local"}
    repaired = {f"{each['kind']}:{each['id']}" for each in applied["repaired"]}
    assert {each for record in said for each in record["ids"].split()} == repaired

    control_plane.start()
    with stack.client(pinned_nodes=pinned(stack)) as custody:
        assert custody.get_signature(asked.key_id, asked.id) == signed
        for told in (wallet, taproot):
            again = custody.get_wallet(told.id)
            assert again.model_copy(update={"created_at": told.created_at}) == told
        assert custody.create_wallet(Network.BITCOIN, external_id="user-17").id == wallet.id
        assert custody.get_key(shared.id).generation == 1
        assert custody.get_key(retired.id).archived_at is not None
        with pytest.raises(KeyArchived):
            custody.sign_hash(retired.id, bytes(32))
        for key_id in (wallet.key_id, taproot.key_id):
            key = custody.get_key(key_id)
            assert key.status is KeyStatus.ACTIVE
            made = custody.sign_message(key.id, "after the loss", wait=SECONDS)
            check_signature(key, Wanted("Message", b"after the loss"), made)
        digest = b"\7" * 32
        check_signature(
            custody.get_key(bare.id), Wanted("Hash", digest), custody.sign_hash(bare.id, digest)
        )
        made = custody.sign_message(shared.id, b"after the loss", wait=SECONDS)
        check_signature(refreshed, Wanted("Message", b"after the loss"), made)
        until_well(custody)


def records_of(url: str) -> list[Any]:
    """Return the details of each Reconcile record of the control plane's own audit."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT record FROM audit ORDER BY sequence").fetchall()
    records = [json.loads(record) for (record,) in rows]
    return [each["details"] for each in records if each["kind"] == "Reconcile"]


def pinned(stack: Stack) -> PinnedNodes:
    """Return what an application pins that believes no control plane."""
    return PinnedNodes(
        {driver.node_id: driver.identity_public_key for driver in stack.drivers},
        {signer.node_id: signer.identity_public_key for signer in stack.signers.all},
        stack.driver_groups,
        {"two": PinnedGroup(2, ["signer-1", "signer-2"])},
    )


def rows_of(url: str) -> list[Any]:
    """Return every key and request of a database."""
    with psycopg.connect(url) as connection:
        jobs = connection.execute("SELECT id, state, outcome FROM jobs ORDER BY id").fetchall()
        keys = connection.execute("SELECT * FROM keys ORDER BY id").fetchall()
    return [jobs, keys]


def until_well(custody: Custody) -> None:
    """The nodes' audit heads, which are ahead of those that the backup has, are accepted."""
    deadline = time.monotonic() + SECONDS
    while ill := [node for node in custody.list_nodes() if node.health.status != "ok"]:
        assert time.monotonic() < deadline, ill
        time.sleep(0.2)
