"""The control plane killed in the middle of what signers do together, and started again.

One request survives all kills of a test. All that the conductor knows is in the
database: at the end the request is done, once, and nothing is left over.
"""

import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psycopg
import pytest

from custody.client import (
    ChangeStatus,
    Curve,
    Custody,
    Key,
    KeyStatus,
    Scheme,
    SignatureStatus,
    Store,
)
from devstack.control_plane import ControlPlane
from devstack.stack import Stack
from tests.faults.mpc import killing_control_plane
from tests.faults.mpc.conftest import (
    GROUP,
    SECONDS,
    is_active_everywhere,
    nothing_is_left_over,
    rows,
    wait_for,
)

Answer = TypeVar("Answer")
Deaths = list[tuple[str, str]]


@pytest.fixture
def key(custody: Custody) -> Key:
    return custody.create_key(
        Scheme.EDDSA, Curve.ED25519, Store.MPC, signer_group=GROUP, wait=SECONDS
    )


def die_at_each(
    plane: ControlPlane, folder: Path, deaths: Deaths, begin: Callable[[], Answer]
) -> Answer:
    """Begin, and have the control plane end at one point after the other; then let it live.

    The application waits for its answer all the while: what it asks again is the same request.
    """
    plan = folder / "plan.json"
    plane.serve_command = [sys.executable, killing_control_plane.__file__, plane.config, plan]
    begun: Future[Answer] | None = None
    with ThreadPoolExecutor(1) as application:
        for kind, at in deaths:
            plan.write_text(killing_control_plane.Plan(kind=kind, at=at).model_dump_json())
            plane.kill()
            plane.start(wait=begun is None)  # later it may die before it is asked how it is
            begun = begun or application.submit(begin)
            deadline = time.monotonic() + SECONDS
            while plane.is_running:
                assert time.monotonic() < deadline, f"did not come to {kind}, {at}: {plane.log}"
                time.sleep(0.05)
            assert plane.process.wait() == -signal.SIGKILL, f"see {plane.log}"
        plane.serve_command = plane.command("serve")
        plane.start()
        assert begun is not None
        return begun.result()


def nothing_is_open(stack: Stack, request_id: UUID) -> bool:
    """Whether no step of a request is open, and no signer has a task of it, or a slot for it."""
    with psycopg.connect(stack.databases.control_plane) as connection:
        left = connection.execute(
            "SELECT FROM steps JOIN tasks ON tasks.step_id = steps.id "
            "WHERE request_id = %s AND (ended_at IS NULL OR is_open OR is_unsettled)",
            (request_id,),
        )
        return left.fetchone() is None


def ends_clean(stack: Stack, request_id: UUID, key_id: UUID) -> None:
    wait_for(lambda: nothing_is_open(stack, request_id), f"steps of {request_id} stay open")
    nothing_is_left_over(stack, key_id)


def test_a_key_is_made_wherever_the_control_plane_is_killed(stack, custody, plane, tmp_path):
    deaths = [("GenerateKey", "reported"), ("ActivateKey", "recorded")]
    new = die_at_each(
        plane,
        tmp_path,
        deaths,
        lambda: custody.create_key(
            Scheme.EDDSA, Curve.ED25519, Store.MPC, signer_group=GROUP, wait=0
        ),
    )
    done = custody.get_key(new.id, wait=SECONDS)
    assert done.status is KeyStatus.ACTIVE, done.reason
    assert is_active_everywhere(stack, done.id)
    ends_clean(stack, done.id, done.id)
    assert custody.sign_message(done.id, "alive", wait=SECONDS).status is SignatureStatus.SIGNED


def test_shares_are_refreshed_wherever_the_control_plane_is_killed(
    stack, custody, plane, key, tmp_path
):
    deaths = [("RefreshKey", "begun"), ("ProveKey", "recorded"), ("ActivateKey", "reported")]
    change = die_at_each(plane, tmp_path, deaths, lambda: custody.refresh_key(key.id, wait=0))
    done = custody.get_refresh(key.id, change.id, wait=SECONDS)
    assert done.status is ChangeStatus.DONE, done.reason
    assert custody.get_key(key.id).generation == 1
    ends_clean(stack, change.id, key.id)
    assert custody.sign_message(key.id, "alive", wait=SECONDS).status is SignatureStatus.SIGNED


@pytest.mark.parametrize(
    "deaths",
    [[("Sign", "planned"), ("Sign", "begun")], [("Sign", "reported")], [("Sign", "recorded")]],
    ids=["before anybody knows", "before it is recorded", "before the signer knows"],
)
def test_a_message_is_signed_once_wherever_the_control_plane_is_killed(
    stack, custody, plane, key, tmp_path, deaths
):
    asked = die_at_each(
        plane, tmp_path, deaths, lambda: custody.sign_message(key.id, "hello", wait=0)
    )
    done = custody.get_signature(key.id, asked.id, wait=SECONDS)
    assert done.status is SignatureStatus.SIGNED, done.reason
    assert [each.id for each in custody.list_signatures(key.id)] == [done.id]
    ends_clean(stack, done.id, key.id)
    unreported = "SELECT FROM journal WHERE job_id = %s AND reported_at IS NULL"
    wait_for(
        lambda: not any(rows(signer, unreported, done.id) for signer in stack.signers.all),
        "what was signed was not reported",
    )
