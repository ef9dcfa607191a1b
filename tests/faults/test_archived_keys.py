"""An archived key signs nothing, whatever a control plane gone bad asks the driver for."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from custody.node.loop import Stage
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.requests import ArchiveKey, UnarchiveKey
from tests.commands import run_command
from tests.faults import killing_driver
from tests.faults.conftest import LonelyDriver
from tests.faults.hostile_control_plane import job_of, sign_job
from tests.faults.test_refusals import MESSAGE, assert_not_done, assert_signs, do, make_key


@pytest.fixture
def key(lonely: LonelyDriver) -> Iterator[KeyReference]:
    yield make_key(lonely.plane)
    lonely.driver.run_command = lonely.driver.command("run")


def archival(key: KeyReference) -> Job:
    return job_of(uuid4(), JobKind.ARCHIVE_KEY, key, Endpoint.ARCHIVALS, ArchiveKey())


def unarchival(key: KeyReference) -> Job:
    return job_of(uuid4(), JobKind.UNARCHIVE_KEY, key, Endpoint.UNARCHIVALS, UnarchiveKey())


def assert_archived(lonely: LonelyDriver, key: KeyReference) -> None:
    denied = do(lonely.plane, sign_job(key, MESSAGE))
    assert_not_done(denied, OutcomeStatus.DENIED, "key_archived")


def test_an_archived_key_does_not_sign_and_another_one_does(lonely: LonelyDriver, key):
    assert do(lonely.plane, archival(key)).status is OutcomeStatus.DONE
    assert_archived(lonely, key)
    bare = key.model_copy(update={"network": None})
    assert_not_done(do(lonely.plane, sign_job(bare, MESSAGE)), OutcomeStatus.DENIED, "key_archived")
    assert_signs(lonely.plane, make_key(lonely.plane))
    lonely.driver.stop()
    lonely.driver.start()
    assert_archived(lonely, key)
    assert do(lonely.plane, unarchival(key)).status is OutcomeStatus.DONE
    assert_signs(lonely.plane, key)


def test_a_running_driver_obeys_an_operators_archival(lonely: LonelyDriver, key):
    def by_hand(verb: str) -> None:
        command = lonely.driver.command("keys", verb, str(key.id), "--reason", "a drill")
        done = run_command(command)
        assert done.returncode == 0, done.stdout + done.stderr

    by_hand("archive")
    assert_archived(lonely, key)
    denied = do(lonely.plane, unarchival(key))
    assert_not_done(denied, OutcomeStatus.DENIED, "archived_by_operator")
    by_hand("unarchive")
    assert_signs(lonely.plane, key)


@pytest.mark.parametrize("stage", [Stage.HANDLED, Stage.COMMITTED])
@pytest.mark.parametrize("archives", [True, False], ids=["archive", "un-archive"])
def test_a_driver_that_is_killed_has_archived_the_key_wholly_or_not_at_all(
    lonely: LonelyDriver, key, stage: Stage, archives: bool, tmp_path: Path
):
    if not archives:
        assert do(lonely.plane, archival(key)).status is OutcomeStatus.DONE
    driver, plan = lonely.driver, tmp_path / "plan.json"
    driver.stop()
    plan.write_text(killing_driver.Plan(stage=stage, nth=1).model_dump_json())
    driver.run_command = [sys.executable, killing_driver.__file__, driver.config, plan]
    job = archival(key) if archives else unarchival(key)
    signed = lonely.plane.sign(job)
    given = lonely.plane.give(signed, job.id)
    driver.start(wait=False)
    assert driver.process.wait() == -signal.SIGKILL
    plan.unlink()
    with lonely.database() as database:
        rows = database.execute(
            "SELECT (SELECT count(*) FROM archivals WHERE root_id = %s), "
            "(SELECT count(*) FROM journal WHERE job_id = %s)",
            [key.id, job.id],
        ).fetchone()
    has_committed = stage is Stage.COMMITTED
    assert rows == (has_committed + (not archives), has_committed)

    driver.run_command = driver.command("run")
    driver.start()
    first = given.first() if has_committed else lonely.plane.ask_for_bytes(signed, job.id)
    assert Outcome.model_validate_json(first).status is OutcomeStatus.DONE
    if archives:
        assert_archived(lonely, key)
    else:
        assert_signs(lonely.plane, key)
    checked = run_command(driver.command("audit", "verify", "--offline"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
