"""Stacks of real processes with three signers, of which one ends at a given point."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from custody.client import Custody, KeyStatus
from devstack.control_plane import ControlPlane, ControlPlaneOptions
from devstack.signer import Signer
from devstack.stack import Stack, StackOptions
from tests.faults.mpc import killing_signer

GROUP = "two-of-three"
SIGNERS = ["signer-1", "signer-2", "signer-3"]
VICTIM = "signer-2"
CEREMONY_SECONDS = 4
"""Deadlines: what the others wait for a signer that was killed."""
SECONDS = 60.0


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    seconds = {"sign_seconds": CEREMONY_SECONDS, "keys_seconds": 2 * CEREMONY_SECONDS}
    options = StackOptions(
        drivers=0,
        signers=3,
        delivery_servers=2,
        durable=False,
        control_plane=ControlPlaneOptions(lease_seconds=2, ceremonies=seconds),
    )
    with Stack(tmp_path_factory.mktemp("signers"), options) as stack:
        with stack.client() as custody:
            custody.create_signer_group(GROUP, SIGNERS, 2)
        yield stack


@pytest.fixture
def custody(stack: Stack) -> Iterator[Custody]:
    with stack.client() as custody:
        yield custody


@pytest.fixture
def victim(stack: Stack) -> Iterator[Signer]:
    """Runs as always at the test's end."""
    victim = stack.signers[VICTIM]
    yield victim
    run_as_always(victim)


def run_as_always(signer: Signer) -> None:
    """Start it again without a plan to end.

    The API shows a signature once one signer has reported it. Another may be busy with it still,
    and a kill would leave a pair in flight, which the health of all later tests would name.
    """
    signer.stop()
    signer.run_command = signer.command("run")
    signer.start()


@pytest.fixture
def plane(stack: Stack) -> Iterator[ControlPlane]:
    """Runs as always at the test's end."""
    [plane] = stack.control_planes
    yield plane
    plane.serve_command = plane.command("serve")
    plane.kill()
    plane.start()


def kill_at(signer: Signer, kind: str, at: str, folder: Path) -> None:
    """Have the signer's next start end at that point."""
    plan = folder / "plan.json"
    plan.write_text(killing_signer.Plan(kind=kind, at=at).model_dump_json())
    signer.run_command = [sys.executable, killing_signer.__file__, signer.config, plan]


def rows(signer: Signer, statement: LiteralString, *parameters: object) -> list[tuple[object, ...]]:
    with psycopg.connect(signer.database_url) as connection:
        return connection.execute(statement, parameters).fetchall()


def is_active_everywhere(stack: Stack, key_id: UUID) -> bool:
    wanted = "SELECT FROM shares WHERE key_id = %s AND state = 'active'"
    return all(rows(signer, wanted, key_id) for signer in stack.signers.all)


def never_active_too_soon(stack: Stack, custody: Custody, key_id: UUID) -> None:
    """What the API says now may be old by the time that the databases are asked, but not new."""
    if custody.get_key(key_id).status is KeyStatus.ACTIVE:
        assert is_active_everywhere(stack, key_id)


def nothing_is_left_over(stack: Stack, key_id: UUID) -> None:
    """Each signer has the one set in use, and of every other what says that it is none.

    Rows in flight go a moment after a signature: the second signer of its quorum may be later.
    """
    in_use = set()
    for signer in stack.signers.all:
        states = rows(signer, "SELECT state, ceremony FROM shares WHERE key_id = %s", key_id)
        assert {state for state, _ in states} <= {"active", "retired", "discarded", "abandoned"}
        in_use.add(tuple(ceremony for state, ceremony in states if state == "active"))
        wait_for(partial(_has_nothing_in_flight, signer, key_id), f"{signer.name}: rows in flight")
    assert len(in_use) == 1
    assert len(in_use.pop()) == 1


def _has_nothing_in_flight(signer: Signer, key_id: UUID) -> bool:
    return not rows(signer, "SELECT FROM in_flight WHERE key_id = %s", key_id)


def wait_for(happens: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
