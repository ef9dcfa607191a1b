"""No signer does what no application has signed, also when an attacker has the control plane."""

import json
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from custody.client import Custody, Key, Rejected, Signature
from custody.control_plane.jobs.notifications import JOBS_CHANNEL
from custody.control_plane.jobs.reasons import RecordedOutcome
from custody.wire.jobs import Endpoint, Job
from custody.wire.signed_bytes import JOB_TYPE, DetachedSignature
from custody.wire.signed_bytes import SigningKey as Ed25519Signer
from custody.wire.signed_requests import sign_request
from tests.acceptance.mpc.locks.conftest import (
    Locked,
    signed,
    until,
)


def test_what_the_application_did_not_sign_is_rejected_by_all(locked: Locked, key: Key) -> None:
    with locked.stack.client() as unsigned, pytest.raises(Rejected) as caught:
        unsigned.sign_message(key.id, "rent")
    assert caught.value.resource.reason is not None
    assert caught.value.resource.reason.code == "unsigned_request"
    assert locked.has_signed(caught.value.resource.id) == set()


Forgery = Callable[[Job, Locked], Job]


def other_bytes(job: Job, _: Locked) -> Job:
    return job.model_copy(update={"request": job.request.replace(b"100", b"900")})


def replayed(job: Job, _: Locked) -> Job:
    """The very request, as another one."""
    return job


def unsigned(job: Job, _: Locked) -> Job:
    return job.model_copy(update={"request_signature": None})


def by_a_stranger(job: Job, locked: Locked) -> Job:
    return with_request(job, job.request, locked.stolen_key)


def with_request(job: Job, request: bytes, signer: Ed25519Signer) -> Job:
    key_id, _, signature = sign_request(signer, Endpoint.SIGNATURES, request).partition(":")
    signed_by = DetachedSignature.model_validate_json(
        json.dumps({"signature": signature, "signing_key_id": key_id})
    )
    return job.model_copy(update={"request": request, "request_signature": signed_by})


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "other bytes": (other_bytes, "bad_request_signature"),
    "replayed": (replayed, "external_id_reused"),
    "unsigned": (unsigned, "unsigned_request"),
    "by a stranger": (by_a_stranger, "unknown_application"),
}


def steal(locked: Locked, genuine: Signature, forgery: Forgery) -> UUID:
    """An attacker on the control plane's host has its database and its job-signing key."""
    stack = locked.stack
    with psycopg.connect(stack.databases.control_plane, row_factory=namedtuple_row) as connection:
        found = connection.execute("SELECT payload FROM jobs WHERE id = %s", (genuine.id,))
        row: Any = found.fetchone()
        job = forgery(Job.model_validate_json(row.payload), locked)
        now = datetime.now(UTC)
        times = {"created_at": now, "expires_at": now + timedelta(minutes=5)}
        forged = job.model_copy(update={"id": uuid4(), **times})
        made = locked.stolen_key.sign(JOB_TYPE, forged.model_dump_json().encode())
        connection.execute(
            "INSERT INTO jobs (id, kind, endpoint, application_id, key_id, node_group, body_digest,"
            " payload, signature, signing_key_id, state, expires_at)"
            " SELECT %s, kind, endpoint, application_id, key_id, node_group, body_digest,"
            " %s, %s, signing_key_id, 'Queued', %s FROM jobs WHERE id = %s",
            (forged.id, made.payload, made.signature, forged.expires_at, genuine.id),
        )
        connection.execute("SELECT pg_notify(%s, %s)", (JOBS_CHANNEL, f"thief {forged.group}"))
    return forged.id


def end_of(locked: Locked, request_id: UUID) -> RecordedOutcome:
    def found() -> Any:
        with psycopg.connect(locked.stack.databases.control_plane) as connection:
            return connection.execute(
                "SELECT outcome FROM jobs WHERE id = %s AND outcome IS NOT NULL", (request_id,)
            ).fetchone()

    return RecordedOutcome.model_validate_json(until(found)[0])


@pytest.mark.parametrize("name", FORGERIES)
def test_a_stolen_control_plane_has_nothing_signed_that_the_application_did_not_sign(
    locked: Locked, custody: Custody, key: Key, name: str
) -> None:
    forgery, code = FORGERIES[name]
    text = f"pay 100 to {secrets.token_hex(4)}"
    genuine = signed(key, custody.sign_message(key.id, text), text)
    forged = steal(locked, genuine, forgery)
    outcome = end_of(locked, forged)
    assert (outcome.status, outcome.code) == ("DENIED", code)
    assert locked.has_signed(forged) == set()


@pytest.fixture
def no_gate_is_asked(locked: Locked) -> Iterator[None]:
    """An attacker who has the control plane's database can do this, whatever signers report."""
    with psycopg.connect(locked.stack.databases.control_plane, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION forget_gates() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.has_gate = false; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER forget_gates BEFORE UPDATE ON nodes"
            " FOR EACH ROW EXECUTE FUNCTION forget_gates()"
        )
        connection.execute("UPDATE nodes SET has_gate = false")
        yield
        connection.execute("DROP FUNCTION forget_gates CASCADE")
        connection.execute("UPDATE nodes SET has_gate = true")


@pytest.mark.usefixtures("no_gate_is_asked")
def test_gates_that_the_control_plane_leaves_out_are_asked_by_their_signers(
    locked: Locked, custody: Custody, key: Key
) -> None:
    made = signed(key, custody.sign_message(key.id, "pay 100"), "pay 100")
    assert [kind for kind, _ in locked.steps_of(made.id)] == ["Sign"]
    locked.refuse("signer-1", "signer-2")
    with pytest.raises(Rejected) as caught:
        custody.sign_message(key.id, "payout 100")
    rejected = caught.value.resource
    assert rejected.reason is not None
    assert rejected.reason.code == "gate_rejected"
    assert {kind for kind, _ in locked.steps_of(rejected.id)} == {"Sign"}
    assert locked.has_signed(rejected.id) == set()
