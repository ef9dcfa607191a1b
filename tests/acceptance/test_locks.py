"""The locks as an application and an operator meet them: the example gate, the client, the API."""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.client import (
    Custody,
    ExternalIdConflict,
    KeyArchived,
    Network,
    NotAttested,
    Rejected,
    Signature,
    SignatureStatus,
    UnexpectedAnswer,
    Wallet,
)
from custody.client.request_signing import SigningKeySource, load_key
from custody.runtime.configuration import replace_file
from custody.wire.jobs import Endpoint
from custody.wire.signed_bytes import SigningKey
from custody.wire.signed_requests import SIGNATURE_HEADER, sign_request
from devstack.certificates import Certificates
from devstack.driver import DriverOptions
from devstack.gate import ExampleGate
from devstack.launcher import Tied
from devstack.postgres import Cluster
from devstack.service import clean_environment
from devstack.stack import Databases, Stack, StackOptions
from tests.acceptance.conftest import raw_client
from tests.commands import run_command
from tests.conftest import fresh_database


@dataclass
class Locked:
    """A stack whose owner has both locks, and an application that has its own key."""

    stack: Stack
    gate: ExampleGate
    signing_key_file: Path

    def client(self) -> Custody:
        return Custody(
            self.stack.api_url,
            self.stack.api_token,
            self.stack.ca,
            signing_key=self.signing_key_file,
        )

    def hsm_driver(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        driver = self.stack.drivers[0]
        return run_command(driver.command(*arguments), clean_environment(**driver.environment()))


@pytest.fixture(scope="module")
def locked(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: Cluster,
    control_plane_template: str,
    driver_template: str,
) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    leaf = Certificates(folder / "gate-pki").server("gate")
    gate = ExampleGate("gate", folder / "gate", leaf, Tied())
    more = {"requests": {"require_signature": True}, "gate": gate.settings()}
    options = StackOptions(durable=False, driver=DriverOptions(more=more))
    databases = Databases(
        next(control_plane := fresh_database(postgres, control_plane_template)),
        next(driver := fresh_database(postgres, driver_template)),
    )
    key_file, public_file = folder / "app.pem", folder / "app-public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key_file], check=True)
    subprocess.run(["openssl", "pkey", "-in", key_file, "-pubout", "-out", public_file], check=True)
    gate.start()
    stack = Stack(folder / "stack", options, databases)
    try:
        stack.start()
        locked = Locked(stack, gate, key_file)
        added = locked.hsm_driver("apps", "add", "shop", "--public-key-file", str(public_file))
        assert added.returncode == 0, added.stderr
        yield locked
    finally:
        stack.stop()
        gate.stop()
        for database in (control_plane, driver):
            next(database, None)


@pytest.fixture(scope="module")
def custody(locked: Locked) -> Iterator[Custody]:
    with locked.client() as custody:
        yield custody


@pytest.fixture(scope="module")
def wallet(custody: Custody) -> Wallet:
    return custody.create_wallet(Network.ETHEREUM)


@pytest.fixture(autouse=True)
def _gate_as_it_comes(locked: Locked) -> None:
    locked.gate.set_policy()


def waiting(custody: Custody, signature: Signature, code: str) -> Signature:
    """The signature once an attempt has ended for that reason."""
    deadline = time.monotonic() + 30
    while signature.reason is None or signature.reason.code != code:
        assert time.monotonic() < deadline, signature
        time.sleep(0.1)
        signature = custody.get_signature(signature.key_id, signature.id)
    return signature


def decided(locked: Locked, signature: Signature, decision: str, reason: str) -> None:
    [name] = [name for name in locked.gate.waiting() if name.startswith(str(signature.id))]
    locked.gate.decide(name, decision, reason)


def test_what_the_gate_approves_is_signed(custody: Custody, wallet: Wallet) -> None:
    assert custody.sign_message(wallet.key_id, "hello").status is SignatureStatus.SIGNED


def test_what_the_gate_rejects_is_rejected_with_who_and_why(
    locked: Locked, custody: Custody, wallet: Wallet
) -> None:
    with pytest.raises(Rejected) as caught:
        custody.sign_message(wallet.key_id, "drain the wallet")
    reason = caught.value.resource.reason
    assert reason is not None
    assert (reason.code, reason.node) == ("gate_rejected", locked.stack.drivers[0].node_id)
    assert "'drain'" in reason.detail


@pytest.mark.parametrize(("decision", "code"), [("approve", None), ("reject", "gate_rejected")])
def test_what_waits_for_a_person_stays_pending_until_the_person_decides(
    locked: Locked, custody: Custody, wallet: Wallet, decision: str, code: str | None
) -> None:
    asked = custody.sign_hash(wallet.key_id, secrets.token_bytes(32), wait=0)
    asked = waiting(custody, asked, "approval_pending")
    assert asked.status is SignatureStatus.PENDING
    decided(locked, asked, decision, "looked at")
    if code is None:
        done = custody.get_signature(asked.key_id, asked.id, wait=60)
        assert done.status is SignatureStatus.SIGNED
        return
    with pytest.raises(Rejected, match="looked at") as caught:
        custody.get_signature(asked.key_id, asked.id, wait=60)
    assert caught.value.resource.reason is not None
    assert caught.value.resource.reason.code == code


def test_a_key_is_archived_at_once_and_unarchived_once_the_gate_approves(
    locked: Locked, custody: Custody
) -> None:
    wallet = custody.create_wallet(Network.ETHEREUM)
    custody.archive_key(wallet.key_id)
    undoing = custody.unarchive_key(wallet.key_id, wait=0)
    deadline = time.monotonic() + 30
    while not (waiting := [each for each in locked.gate.waiting() if str(undoing.id) in each]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(KeyArchived):
        custody.sign_message(wallet.key_id, "hello")
    locked.gate.decide(waiting[0], "approve", "the wallet is needed again")
    custody.get_unarchival(wallet.key_id, undoing.id, wait=60)
    assert custody.sign_message(wallet.key_id, "hello").status is SignatureStatus.SIGNED
    with locked.stack.client() as unsigned, pytest.raises(Rejected, match="unsigned_request"):
        unsigned.archive_key(wallet.key_id)
    assert custody.sign_message(wallet.key_id, "hello").status is SignatureStatus.SIGNED


def test_what_the_application_did_not_sign_is_rejected(locked: Locked, wallet: Wallet) -> None:
    with locked.stack.client() as unsigned, pytest.raises(Rejected, match="unsigned_request"):
        unsigned.sign_message(wallet.key_id, "hello")


def test_the_gate_knows_the_application_by_its_pinned_name(
    locked: Locked, custody: Custody, wallet: Wallet
) -> None:
    locked.gate.set_policy(applications=["bank"])
    with pytest.raises(Rejected, match="requests of shop"):
        custody.sign_message(wallet.key_id, "hello")
    locked.gate.set_policy(applications=["shop"])
    assert custody.sign_message(wallet.key_id, "hello").status is SignatureStatus.SIGNED


def test_the_same_external_id_gives_the_first_result_though_it_is_signed_anew(
    custody: Custody, wallet: Wallet
) -> None:
    first = custody.sign_message(wallet.key_id, "once", external_id="once-1")
    assert custody.sign_message(wallet.key_id, "once", external_id="once-1") == first
    with pytest.raises(ExternalIdConflict):
        custody.sign_message(wallet.key_id, "twice", external_id="once-1")


def test_with_pinned_nodes_a_wallet_is_its_applications_alone(locked: Locked) -> None:
    stack = locked.stack

    def client(signing_key: SigningKeySource | None) -> Custody:
        pins = stack.pinned_nodes
        return Custody(
            stack.api_url, stack.api_token, stack.ca, signing_key=signing_key, pinned_nodes=pins
        )

    with client(locked.signing_key_file) as mine:
        wallet = mine.create_wallet(Network.ETHEREUM, external_id="pinned-1")
        assert mine.create_wallet(Network.ETHEREUM, external_id="pinned-1") == wallet
        assert mine.get_wallet(wallet.id, external_id="pinned-1") == wallet
        with pytest.raises(UnexpectedAnswer):
            mine.get_wallet(wallet.id, external_id="pinned-2")
    for key in (Ed25519PrivateKey.generate(), None):
        with client(key) as another, pytest.raises(NotAttested, match="made for the application"):
            another.get_wallet(wallet.id)


def test_while_the_gate_is_away_requests_wait_and_then_go_on(
    locked: Locked, custody: Custody, wallet: Wallet
) -> None:
    locked.gate.stop()
    try:
        asked = custody.sign_message(wallet.key_id, "hello", wait=0)
        asked = waiting(custody, asked, "gate_unavailable")
        assert asked.status is SignatureStatus.PENDING
        assert custody.create_wallet(Network.BITCOIN).address
        assert gate_check(locked)["status"] == "fail"
    finally:
        locked.gate.start()
    done = custody.get_signature(asked.key_id, asked.id, wait=60)
    assert done.status is SignatureStatus.SIGNED


def gate_check(locked: Locked) -> dict[str, str]:
    checks = json.loads(locked.hsm_driver("doctor", "--json").stdout)
    [found] = [check for check in checks if check["name"] == "gate"]
    return dict(found)


def test_a_gate_with_another_hmac_key_answers_nobody_and_doctor_says_so(
    locked: Locked, custody: Custody, wallet: Wallet
) -> None:
    assert gate_check(locked)["status"] == "ok"
    shared = locked.gate.hmac_key_file.read_bytes()
    locked.gate.stop()
    # the driver has read its copy at its start; doctor reads the new file
    replace_file(locked.gate.hmac_key_file, secrets.token_hex(32).encode())
    locked.gate.start()
    replace_file(locked.gate.hmac_key_file, shared)
    locked.gate.hmac_key_file.chmod(0o600)
    try:
        found = gate_check(locked)
        assert (found["status"], "401" in found["detail"]) == ("fail", True)
        asked = custody.sign_message(wallet.key_id, "hello", wait=0)
        asked = waiting(custody, asked, "gate_bad_answer")
        assert asked.status is SignatureStatus.PENDING
    finally:
        locked.gate.stop()
        locked.gate.start()


# Without our library


def body_for(wallet: Wallet, **changes: str) -> dict[str, str]:
    return {
        "kind": "Message",
        "message": "hello",
        "external_id": f"raw-{uuid4()}",
        "key_id": str(wallet.key_id),
        "store": "hsm",
        "expires_at": (datetime.now(UTC) + timedelta(minutes=5)).isoformat(),
        **changes,
    }


@pytest.fixture
def api(locked: Locked) -> Iterator[httpx.Client]:
    with raw_client(locked.stack) as client:
        yield client


def test_any_client_can_sign_the_bytes_that_it_sends(
    locked: Locked, api: httpx.Client, wallet: Wallet
) -> None:
    text = json.dumps(body_for(wallet), indent=3).encode()
    signer = SigningKey(load_key(locked.signing_key_file))
    answer = api.post(
        f"/v1/keys/{wallet.key_id}/signatures?wait=30",
        content=text,
        headers={SIGNATURE_HEADER: sign_request(signer, Endpoint.SIGNATURES, text)},
    )
    assert answer.json()["status"] == "Signed", answer.text


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key_id": str(uuid4())}, "request_mismatch"),
        ({"store": "mpc"}, "request_mismatch"),
        ({"expires_at": "2026-01-01T00:00:00Z"}, "request_expired"),
        ({"expires_at": "2026-01-01T00:00:00"}, "invalid_request"),
    ],
)
def test_a_body_that_contradicts_its_path_is_refused_at_once(
    api: httpx.Client, wallet: Wallet, changes: dict[str, str], code: str
) -> None:
    path = f"/v1/keys/{wallet.key_id}/signatures"
    answer = api.post(path, json=body_for(wallet, **changes))
    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize("header", ["", "x", "0123456789abcdef:AAAA"])
def test_a_header_that_is_no_signature_is_refused_at_once(
    api: httpx.Client, wallet: Wallet, header: str
) -> None:
    path = f"/v1/keys/{wallet.key_id}/signatures"
    answer = api.post(path, json=body_for(wallet), headers={SIGNATURE_HEADER: header})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
