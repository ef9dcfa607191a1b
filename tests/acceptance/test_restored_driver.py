"""`hsm-driver backup restore` and `newer`, against a control plane that made keys meanwhile."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pyrage
import pytest

from custody.client import Network
from custody.runtime.configuration import write_secret
from custody.wire.algorithms import MAIN_NETWORKS
from devstack.driver import Driver, DriverOptions
from devstack.postgres import Cluster
from devstack.service import clean_environment
from devstack.stack import Stack


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """The private key of a recipient."""
    path = tmp_path / "backup-key.txt"
    write_secret(path, f"{pyrage.x25519.Identity.generate()}\n".encode())
    return path


@pytest.fixture
def stack(make_stack: Any, identity: Path, tmp_path: Path) -> Iterator[Stack]:
    recipient = str(pyrage.x25519.Identity.from_str(identity.read_text().strip()).to_public())
    backup = {"folder": str(tmp_path / "backups"), "recipients": [recipient]}
    stack: Stack = make_stack(drivers=1, driver=DriverOptions(more={"backup": backup}))
    yield stack
    stack.stop()


def call(driver: Driver, *words: str, status: int) -> str:
    done = subprocess.run(
        driver.command("backup", *words),
        cwd=driver.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def archived_in(stack: Stack) -> list[UUID]:
    """Return the keys that the driver's database has as archived."""
    with psycopg.connect(stack.databases.driver) as connection:
        return [row[0] for row in connection.execute("SELECT root_id FROM archivals").fetchall()]


def forget_archivals(stack: Stack) -> None:
    with psycopg.connect(stack.databases.driver) as connection:
        connection.execute("DELETE FROM archivals")


def test_a_restore_names_each_key_made_since_and_what_to_do(
    stack: Stack, postgres: Cluster, identity: Path, tmp_path: Path
) -> None:
    [control_plane], [driver] = stack.control_planes, stack.drivers
    database = stack.databases.driver.rpartition("/")[2]
    with stack.client() as custody:
        before = custody.create_wallet(Network.ETHEREUM)
        retired = custody.create_wallet(Network.ETHEREUM)
        call(driver, "create", status=0)
        [file] = (tmp_path / "backups").glob("*.backup")
        assert call(driver, "newer", str(file), status=0).endswith(
            "0 facts are newer at the control plane than this database\n"
        )
        since = [custody.create_wallet(network) for network in MAIN_NETWORKS]
        custody.sign_message(before.key_id, "after the backup")
        custody.archive_key(retired.key_id)
    driver.kill()
    postgres.drop_database(database)
    postgres.create_database(database)

    words = (str(file), "--identity", str(identity), "--json")
    restored = json.loads(call(driver, "restore", *words, status=0))
    assert restored["good"]
    head, *keys, archived = restored["newer"]
    assert archived["what"].startswith(f"key {retired.key_id}: archived at ")
    assert archived_in(stack) == [retired.key_id]
    assert "audit records up to" in head["what"]
    assert f"control-plane node restored {driver.node_id}" in head["todo"]
    lost = {str(wallet.key_id) for wallet in since}
    assert {each["what"].split()[1].rstrip(",") for each in keys} == lost
    assert all("tell its application not to use its address" in each["todo"] for each in keys)
    again = json.loads(call(driver, "newer", str(file), "--json", status=1))
    assert again == restored["newer"][:-1]

    forget_archivals(stack)  # as if the control plane had been away during the restore
    driver.run("state the restore", "audit", "restored", "--reason", "test")
    assert archived_in(stack) == [retired.key_id]
    acknowledge = ("node", "restored", driver.node_id, "--reason", "test", "--yes")
    control_plane.run("acknowledge the restore", *acknowledge)
    said = call(driver, "newer", str(file), status=1)
    assert "audit records" not in said
    assert said.endswith(f"{len(since)} facts are newer at the control plane than this database\n")

    control_plane.stop()
    call(driver, "newer", str(file), status=2)
