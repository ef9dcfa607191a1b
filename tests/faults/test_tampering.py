"""The honest control plane over a database tampered with, requests that expire, and takeovers."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from custody.client import Curve, Custody, Failed, Network, Scheme, Signature, SignatureStatus
from custody.node.loop import Stage
from custody.wire.jobs import Job
from custody.wire.outcomes import Outcome
from devstack.control_plane import ControlPlaneOptions
from devstack.driver import Driver, DriverOptions
from devstack.stack import Stack, StackOptions
from tests.faults.test_killed_driver import kill_at
from tests.second_opinion import Wanted, check_signature

LIFETIME_SECONDS = 15
HELLO = Wanted("Message", b"hello")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = StackOptions(
        durable=False,
        drivers=2,
        control_plane=ControlPlaneOptions(lifetime_seconds=LIFETIME_SECONDS, lease_seconds=1),
        driver=DriverOptions(workers=1),
    )
    with Stack(tmp_path_factory.mktemp("tampering"), options) as stack:
        for driver in stack.drivers:
            driver.stop()
        yield stack


@pytest.fixture(scope="module")
def custody(stack: Stack) -> Iterator[Custody]:
    with stack.client() as custody:
        yield custody


@pytest.fixture
def driver(stack: Stack) -> Iterator[Driver]:
    """The first driver, running; no driver runs after the test."""
    first = stack.drivers[0]
    first.start()
    yield first
    for one in stack.drivers:
        one.stop()
        one.run_command = one.command("run")


@pytest.fixture
def key(custody: Custody, driver: Driver) -> UUID:
    return custody.create_wallet(Network.ETHEREUM).key_id


def database(stack: Stack) -> psycopg.Connection:
    return psycopg.connect(stack.databases.control_plane, autocommit=True)


def journalled(stack: Stack, job_id: UUID) -> list[tuple]:
    with psycopg.connect(stack.databases.driver) as connection:
        rows = connection.execute("SELECT status FROM journal WHERE job_id = %s", [job_id])
        return rows.fetchall()


def reason_of(custody: Custody, key: UUID, signature: Signature) -> str:
    """The code with which a request has failed."""
    with pytest.raises(Failed) as caught:
        custody.get_signature(key, signature.id, wait=30)
    failed = caught.value.resource
    assert isinstance(failed, Signature)
    assert failed.status is SignatureStatus.FAILED
    assert failed.signature is None
    assert failed.reason is not None
    return failed.reason.code


TAMPERINGS = {
    "another message": (
        "payload = convert_to(replace(convert_from(payload, 'UTF8'),"
        " substring(convert_from(payload, 'UTF8') FROM '\"request\":\"([^\"]*)'),"
        " 'eyJraW5kIjoiTWVzc2FnZSIsIm1lc3NhZ2UiOiJwYXkgbWUifQ=='), 'UTF8')",
        "bad_job_signature",
    ),
    "a longer life": (
        "payload = convert_to(replace(convert_from(payload, 'UTF8'), '2026', '2036'), 'UTF8')",
        "bad_job_signature",
    ),
    "another signature": (
        "signature = set_byte(signature, 0, get_byte(signature, 0) # 1)",
        "bad_job_signature",
    ),
    "another signing key": ("signing_key_id = '0123456789abcdef'", "bad_job_signature"),
    "another job's signed bytes": (
        "(payload, signature) = (SELECT payload, signature FROM jobs WHERE id = %(other)s)",
        "wrong_job",
    ),
}


def test_jobs_changed_in_the_control_planes_database_are_refused(stack, custody, driver, key):
    other = custody.sign_message(key, HELLO.content)
    driver.stop()
    spoilt = {how: custody.sign_message(key, f"pay {how}", wait=0) for how in TAMPERINGS}
    untouched = custody.sign_message(key, HELLO.content, wait=0)
    with database(stack) as connection:
        for how, (change, _) in TAMPERINGS.items():
            changed = connection.execute(
                f"UPDATE jobs SET {change} WHERE id = %(id)s",
                {"id": spoilt[how].id, "other": other.id},
            )
            assert changed.rowcount == 1
    for each in stack.drivers:  # what one refuses, another may take: both must
        each.start()
    for how, (_, code) in TAMPERINGS.items():
        assert reason_of(custody, key, spoilt[how]) == code, how
        assert journalled(stack, spoilt[how].id) == []
    signed = custody.get_signature(key, untouched.id, wait=30)
    check_signature(custody.get_key(key), HELLO, signed)


def test_a_key_swapped_in_the_control_planes_database_signs_nothing(stack, custody, driver):
    mine, theirs = (custody.create_key(Scheme.ECDSA, Curve.SECP256K1) for _ in range(2))
    swap = """UPDATE keys AS ours SET public_key = theirs.public_key FROM keys AS theirs
        WHERE (ours.id, theirs.id) IN ((%(a)s, %(b)s), (%(b)s, %(a)s))"""
    with database(stack) as connection:
        assert connection.execute(swap, {"a": mine.id, "b": theirs.id}).rowcount == 2
        for key in (mine, theirs):
            with pytest.raises(Failed, match="key_mismatch"):
                custody.sign_hash(key.id, bytes(32))


def test_a_request_that_nobody_does_in_time_has_failed_for_good(stack, custody, driver, key):
    driver.stop()
    began = time.monotonic()
    signature = custody.sign_message(key, HELLO.content, wait=0)
    assert reason_of(custody, key, signature) == "expired"
    assert time.monotonic() - began >= LIFETIME_SECONDS - 0.5
    expired = custody.get_signature(key, signature.id)
    driver.start()
    custody.sign_message(key, "the driver works again")
    assert custody.get_signature(key, signature.id) == expired
    assert journalled(stack, signature.id) == []


def test_an_outcome_that_comes_after_expiry_is_kept_and_not_shown(
    stack, custody, driver, key, tmp_path: Path
):
    driver.stop()
    kill_at(driver, Stage.COMMITTED, tmp_path / "plan.json")
    driver.start(wait=False)
    signature = custody.sign_message(key, HELLO.content, wait=0)
    driver.process.wait()
    assert reason_of(custody, key, signature) == "expired"
    expired = custody.get_signature(key, signature.id)

    driver.run_command = driver.command("run")
    driver.start()
    deadline = time.monotonic() + 20
    while (late := late_outcome(stack, signature.id)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert Outcome.model_validate_json(late).status == "DONE"
    assert custody.get_signature(key, signature.id) == expired


def late_outcome(stack: Stack, job_id: UUID) -> bytes | None:
    with database(stack) as connection:
        rows = connection.execute("SELECT late_outcome FROM jobs WHERE id = %s", [job_id])
        ((late,),) = rows.fetchall()
    return bytes(late) if late is not None else None


@pytest.mark.parametrize("stage", [Stage.COMMITTED, Stage.CLAIMED])
def test_another_driver_of_the_group_ends_what_one_has_begun(
    stack, custody, driver, tmp_path: Path, stage: Stage
):
    first, second = stack.drivers
    first.stop()
    kill_at(first, stage, tmp_path / "plan.json")
    first.start()
    pending = custody.create_key(Scheme.ECDSA, Curve.SECP256R1, wait=0)
    first.process.wait()
    assert custody.get_key(pending.id).status == "Pending"

    second.start()
    key = custody.get_key(pending.id, wait=30)
    with database(stack) as connection:
        rows = connection.execute("SELECT outcome, payload FROM jobs WHERE id = %s", [key.id])
        ((outcome, payload),) = rows.fetchall()
    did = Outcome.model_validate_json(outcome).node
    assert did == (first if stage is Stage.COMMITTED else second).node_id
    assert Job.model_validate_json(payload).id == key.id
    wanted = Wanted("Hash", bytes(32))
    check_signature(key, wanted, custody.sign_hash(key.id, wanted.content))


def test_a_node_that_is_not_registered_gets_no_job_and_says_what_to_do(stack, custody, driver, key):
    second = stack.drivers[1]
    with database(stack) as connection:
        for table in ("node_audit_records", "audit_heads"):
            connection.execute(f"DELETE FROM {table} WHERE node_id = %s", [second.node_id])
        connection.execute("DELETE FROM nodes WHERE id = %s", [second.node_id])
    second.log.write_text("")
    second.start(wait=False)
    deadline = time.monotonic() + 20
    words = f"control-plane node add {second.node_id}"
    while words not in second.log.read_text():
        second.process.check()
        assert time.monotonic() < deadline, second.log.read_text()
        time.sleep(0.1)
    assert not second.is_ready()
    stack.control_planes[0].add_nodes([second.node_id], "hsm")
    second.wait_until_ready()
