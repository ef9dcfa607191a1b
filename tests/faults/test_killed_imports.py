"""The driver killed at each stage of an import: one key comes of it, and no import key is left."""

import asyncio
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from custody.client import Custody, PrivateKey
from custody.node.loop import Stage
from custody.wire.algorithms import ECDSA_SECP256K1
from devstack.control_plane import ControlPlaneOptions
from devstack.driver import DriverOptions
from devstack.stack import Stack, StackOptions
from tests.faults.test_killed_driver import audit_verify, kill_at, run_to_its_end, token_objects
from tests.waiting import until

STAGES = (Stage.HANDLED, Stage.COMMITTED)
"""The HSM has done its part, and nothing is committed; all is committed, and nothing reported."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    options = StackOptions(
        durable=False,
        control_plane=ControlPlaneOptions(lease_seconds=1, max_lapses=1_000),
        driver=DriverOptions(workers=1),
    )
    with Stack(tmp_path, options) as stack:
        yield stack


@pytest.mark.timeout(600)
async def test_an_import_is_done_once_wherever_the_driver_is_killed(stack: Stack, tmp_path: Path):
    """Each stage of both jobs: the one that makes the import key, and the one that uses it."""
    driver, plan = stack.drivers[0], tmp_path / "plan.json"
    objects = token_objects(stack)
    driver.stop()
    keys = []
    with stack.client(pinned_nodes=stack.pinned_nodes) as custody:
        for nth, stage in ((nth, stage) for stage in STAGES for nth in (1, 2)):
            kill_at(driver, stage, plan, nth)
            private_key = PrivateKey(ECDSA_SECP256K1, secrets.token_bytes(32))
            importing = asyncio.create_task(asyncio.to_thread(import_key, custody, private_key))
            status, _ = await asyncio.to_thread(run_to_its_end, driver)
            assert status == -signal.SIGKILL, f"at {stage}, job {nth}: see {driver.log}"
            plan.unlink()
            driver.start()
            key_id = await importing
            keys.append((key_id, private_key))
            driver.stop()
        driver.start()
        for key_id, private_key in keys:
            key = custody.get_key(key_id)
            assert (key.public_key, key.imported) == (private_key.public_key, True)
            custody.sign_hash(key.id, bytes(32))  # the control plane verifies it
        await until(lambda: token_objects(stack) == objects, seconds=30)
    driver.stop()
    with psycopg.connect(stack.databases.driver) as connection:
        [(stored,)] = connection.execute("SELECT count(*) FROM wrapped_keys").fetchall()
        [(unfinished,)] = connection.execute(
            "SELECT count(*) FROM import_keys WHERE finished_at IS NULL"
        ).fetchall()
    assert (stored, unfinished) == (len(keys), 0)
    driver.start()
    audit_verify(stack, driver)


def import_key(custody: Custody, private_key: PrivateKey) -> UUID:
    return custody.import_key(private_key, wait=60).id
