"""A stolen control plane, and a gate that does not answer, before a driver with both locks shut."""

import base64
import json
import secrets
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.loop import Stage
from custody.runtime.configuration import write_secret
from custody.wire.algorithms import ECDSA_SECP256K1, Network, Store
from custody.wire.jobs import Job, KeyReference
from custody.wire.outcomes import GeneratedKey, MadeSignature, Outcome, OutcomeStatus
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signed_bytes import SigningKey
from custody.wire.signed_requests import parse_header, sign_request
from devstack.certificates import Certificates, Leaf
from devstack.driver import DriverOptions
from devstack.token import Token
from tests import played_gate
from tests.faults import killing_driver
from tests.faults.conftest import LonelyDriver, lonely_driver
from tests.faults.hostile_control_plane import HostileControlPlane, generate_job, sign_job
from tests.played_gate import PlayedGate

SLOTS = 2
GATE_SECONDS = 3.0
"""Longer than all work that must continue while the gate hangs."""
APPLICATION = SigningKey(Ed25519PrivateKey.generate())


@dataclass
class Locked:
    """A driver that signs only what an application has signed and the gate approves."""

    lonely: LonelyDriver
    gate: PlayedGate

    @property
    def plane(self) -> HostileControlPlane:
        return self.lonely.plane

    def do(self, job: Job) -> Outcome:
        return self.plane.ask(self.plane.sign(job), job.id)

    def audit(self, job: Job) -> dict[str, Any]:
        """The last record of a job."""
        with self.lonely.database() as connection:
            rows = connection.execute("SELECT record FROM audit ORDER BY sequence DESC").fetchall()
        records = (json.loads(record) for (record,) in rows)
        return next(record for record in records if record["job_id"] == str(job.id))

    def made_signatures(self) -> int:
        with self.lonely.database() as connection:
            rows = connection.execute(
                "SELECT outcome FROM journal WHERE status = 'DONE'"
            ).fetchall()
        results = [Outcome.model_validate_json(row[0]).result for row in rows]
        return sum(isinstance(result, MadeSignature) for result in results)


@pytest.fixture(scope="module")
def gate(certificates: Certificates) -> Iterator[PlayedGate]:
    with PlayedGate(certificates.server("gate")) as gate:
        yield gate


@pytest.fixture(scope="module")
def module_locked(
    tmp_path_factory: pytest.TempPathFactory,
    plane: HostileControlPlane,
    gate: PlayedGate,
    module_driver_database: str,
    token: Token,
    node_leaf: Leaf,
) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    hmac_key_file = folder / "gate-hmac.key"
    write_secret(hmac_key_file, secrets.token_hex(32).encode())
    options = DriverOptions(
        workers=1,
        slots=SLOTS,
        more={
            "requests": {"require_signature": True},
            "gate": {
                "url": gate.url,
                "ca": node_leaf.ca,
                "hmac_key_file": hmac_key_file,
                "timeout_seconds": GATE_SECONDS,
                "allow_bare_hashes": False,
            },
        },
    )
    with lonely_driver(folder, plane, module_driver_database, token, node_leaf, options) as lonely:
        public_key = base64.b64encode(APPLICATION.public_key).decode()
        lonely.driver.run("pin the application", "apps", "add", "shop", "--public-key", public_key)
        lonely.driver.start()
        yield Locked(lonely, gate)


@pytest.fixture(scope="module")
def key(module_locked: Locked) -> KeyReference:
    job = wallet_job()
    outcome = module_locked.do(job)
    assert isinstance(outcome.result, GeneratedKey), outcome
    return job.key.model_copy(update={"public_key": outcome.result.public_key})


@pytest.fixture
def locked(module_locked: Locked, key: KeyReference) -> Iterator[Locked]:
    """Approves until a test says otherwise, and works afterwards."""
    module_locked.gate.play = played_gate.approve
    module_locked.gate.asked.clear()
    yield module_locked
    module_locked.gate.play = played_gate.approve
    assert module_locked.do(payment(key)).status is OutcomeStatus.DONE


def wallet_job() -> Job:
    job = generate_job(ECDSA_SECP256K1, Network.ETHEREUM)
    body = json.loads(job.request) | bound()
    return signed(job.model_copy(update={"request": json.dumps(body).encode()}))


def bound() -> dict[str, str]:
    """What every signed body says beside what it asks for."""
    expires_at = datetime.now(UTC) + timedelta(minutes=10)
    return {"external_id": f"payment-{uuid4()}", "expires_at": expires_at.isoformat()}


def payment(key: KeyReference, message: str = "pay the baker", **changes: Any) -> Job:
    """An honest Sign job around a request that the application signed."""
    request = SignMessage(
        kind="Message",
        message=message,
        **({"key_id": key.id, "store": Store.HSM} | bound() | changes),
    )
    return signed(sign_job(key, request))


def signed(job: Job, signer: SigningKey = APPLICATION) -> Job:
    header = sign_request(signer, job.endpoint, job.request)
    return job.model_copy(update={"request_signature": parse_header(header)})


def assert_denied(outcome: Outcome, code: str) -> None:
    assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, code), outcome
    assert outcome.result is None


# A stolen control plane


def forged(key: KeyReference) -> dict[str, tuple[Job, str]]:
    """Jobs that a control plane can sign, around requests that the application never made."""
    honest = payment(key)
    unsigned = honest.model_copy(update={"request_signature": None})
    bare = signed(sign_job(key, SignMessage(kind="Message", message="pay me")))
    theirs = honest.request.replace(b"baker", b"thief")
    new_wallet = wallet_job().model_copy(update={"request_signature": None})
    other_key = key.model_copy(update={"id": uuid4()})
    return {
        "unsigned": (unsigned, "unsigned_request"),
        "an unsigned wallet": (new_wallet, "unsigned_request"),
        "signed by itself": (
            signed(honest, SigningKey(Ed25519PrivateKey.generate())),
            "unknown_application",
        ),
        "changed": (honest.model_copy(update={"request": theirs}), "bad_request_signature"),
        "for another key": (honest.model_copy(update={"key": other_key}), "request_mismatch"),
        "for another store": (payment(key, store=Store.MPC), "request_mismatch"),
        "saying too little": (bare, "unbound_request"),
        "late": (payment(key, expires_at=datetime.now(UTC)), "expired"),
        "for years": (
            payment(key, expires_at=datetime.now(UTC) + timedelta(days=1000)),
            "lives_too_long",
        ),
    }


@pytest.mark.parametrize(
    "how",
    [
        "unsigned",
        "an unsigned wallet",
        "signed by itself",
        "changed",
        "for another key",
        "for another store",
        "saying too little",
        "late",
        "for years",
    ],
)
def test_a_request_that_the_application_did_not_make_is_denied(locked, key, how) -> None:
    job, code = forged(key)[how]
    assert_denied(locked.do(job), code)
    assert locked.gate.asked == []


def test_a_recorded_request_is_signed_once_however_often_it_is_asked_for(locked, key) -> None:
    job = payment(key)
    first = locked.do(job)
    assert first.status is OutcomeStatus.DONE, first
    before = locked.made_signatures()
    assert locked.do(job) == first
    for _ in range(3):
        replay = job.model_copy(update={"id": uuid4()})
        assert_denied(locked.do(replay), "external_id_reused")
    assert locked.made_signatures() == before


def test_an_application_that_was_removed_is_believed_no_longer(locked, key) -> None:
    driver = locked.lonely.driver
    public_key = base64.b64encode(APPLICATION.public_key).decode()
    driver.run("remove it", "apps", "remove", "shop")
    try:
        assert_denied(locked.do(payment(key)), "unknown_application")
    finally:
        driver.run("pin it again", "apps", "add", "shop", "--public-key", public_key)


# The gate


def test_what_the_gate_approves_is_signed_and_the_audit_says_who_and_why(locked, key) -> None:
    job = payment(key)
    assert locked.do(job).status is OutcomeStatus.DONE
    record = locked.audit(job)
    assert (record["application"], record["gate"], record["gate_reason"]) == (
        "shop",
        "approve",
        "said the test",
    )
    [asked] = locked.gate.asked
    assert (asked.question.request_id, asked.question.application) == (job.id, "shop")


def test_what_the_gate_rejects_is_denied_for_its_reason(locked, key) -> None:
    locked.gate.play = played_gate.reject
    job = payment(key)
    outcome = locked.do(job)
    assert_denied(outcome, "gate_rejected")
    assert "not this payee" in str(outcome.reason)
    record = locked.audit(job)
    assert (record["gate"], record["gate_reason"]) == ("reject", "not this payee")
    locked.gate.play = played_gate.approve
    assert locked.do(job) == outcome


def test_a_bare_hash_is_denied_where_the_owner_says_so(locked, key) -> None:
    request = SignHash(kind="Hash", hash=bytes(32), key_id=key.id, store=Store.HSM, **bound())
    assert_denied(locked.do(signed(sign_job(key, request))), "bare_hash_refused")
    assert locked.gate.asked == []


def test_pending_is_tried_again_until_it_is_decided(locked, key) -> None:
    locked.gate.play = played_gate.pending
    job = payment(key)
    outcome = locked.do(job)
    assert (outcome.code, outcome.transient) == ("approval_pending", True)
    locked.gate.play = played_gate.approve
    assert locked.do(job).status is OutcomeStatus.DONE


def test_what_waits_at_the_gate_holds_up_nothing_else(locked, key) -> None:
    approved = payment(key)
    with locked.lonely.database() as connection:
        connection.execute(
            "INSERT INTO approvals (request_id, digest, node, decision) VALUES (%s, %s, 'n', %s)",
            [approved.request_id, approved.request_digest, "approve"],
        )
    locked.gate.play = played_gate.hang
    hanging = [payment(key) for _ in range(3 * SLOTS)]
    given = [locked.plane.give(locked.plane.sign(job), job.id) for job in hanging]
    locked.gate.wait_until_asked(3 * SLOTS)
    assert locked.do(wallet_job()).status is OutcomeStatus.DONE
    assert locked.do(approved).status is OutcomeStatus.DONE
    assert not any(one.outcomes for one in given)
    for one in given:
        outcome = Outcome.model_validate_json(one.first())
        assert (outcome.code, outcome.transient) == ("gate_unavailable", True)
    locked.gate.play = played_gate.approve
    for job in hanging:
        assert locked.do(job).status is OutcomeStatus.DONE


def test_an_approval_outlives_a_kill_before_the_signature(locked, key, tmp_path: Path) -> None:
    driver = locked.lonely.driver
    plan = tmp_path / "plan.json"
    job = payment(key)
    driver.stop()
    plan.write_text(killing_driver.Plan(stage=Stage.UNLOCKED, nth=1).model_dump_json())
    command = driver.run_command
    driver.run_command = [sys.executable, killing_driver.__file__, driver.config, plan]
    driver.start(wait=False)
    try:
        locked.plane.give(locked.plane.sign(job), job.id)
        assert driver.process.wait() == -signal.SIGKILL
    finally:
        driver.run_command = command
        driver.start()
    before = len(locked.gate.asked)
    locked.gate.play = played_gate.reject
    assert locked.do(job).status is OutcomeStatus.DONE
    assert len(locked.gate.asked) == before == 1
