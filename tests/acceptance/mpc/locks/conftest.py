"""Three signers whose owners have locks, for all tests here: gates, signed requests, freeze."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from custody.client import Custody, Key, Signature, SignatureStatus, Store
from custody.runtime.signing_key import load_signing_key
from custody.wire.signed_bytes import SigningKey as Ed25519Signer
from devstack.certificates import Certificates
from devstack.gate import ExampleGate
from devstack.launcher import Tied
from devstack.service import start_together, stop_together
from devstack.stack import Stack, StackOptions
from tests.acceptance.mpc.conftest import SCHEMES, members
from tests.second_opinion import Wanted, check_signature

SECONDS = 60
NAMES = members(3)


@dataclass
class Locked:
    """Three signers, each with its gate, that do only what their application has signed."""

    stack: Stack
    gates: dict[str, ExampleGate]
    signing_key: Path

    def client(self) -> Custody:
        stack = self.stack
        return Custody(stack.api_url, stack.api_token, stack.ca, signing_key=self.signing_key)

    def refuse(self, *names: str) -> None:
        """Have these signers' gates reject every message with "payout" in it."""
        for name in names:
            self.gates[name].set_policy(refuse_words=["payout"])

    def leave_to_a_person(self, *names: str) -> None:
        for name in names:
            self.gates[name].set_policy(approve_up_to=0)

    def decide(self, name: str, request_id: UUID, decision: str) -> None:
        """As the owner of a signer does, once its gate has been asked."""
        gate = self.gates[name]
        question = until(lambda: [each for each in gate.waiting() if str(request_id) in each])
        gate.decide(question[0], decision, f"said the owner of {name}")

    def audit(self, name: str, request_id: UUID) -> list[dict[str, Any]]:
        """What a signer's audit chain says of the steps of a request before it signs."""
        jobs = {str(job_id) for _, job_id in self.steps_of(request_id)}
        with psycopg.connect(self.stack.signers[name].database_url) as connection:
            rows = connection.execute("SELECT record FROM audit ORDER BY sequence").fetchall()
        records = [json.loads(record) for (record,) in rows]
        return [each for each in records if each["job_id"] in jobs - {str(request_id)}]

    def steps_of(self, request_id: UUID) -> list[tuple[str, UUID]]:
        """Kind and job of each step that the control plane took."""
        with psycopg.connect(self.stack.databases.control_plane) as connection:
            return connection.execute(
                "SELECT kind, job_id FROM steps WHERE request_id = %s ORDER BY number",
                (request_id,),
            ).fetchall()

    @property
    def stolen_key(self) -> Ed25519Signer:
        """The control plane's job-signing key."""
        [file] = (self.stack.folder / "control-plane").glob("*.pem")
        return load_signing_key(file, "the job-signing key", "")

    def quorum_of(self, request_id: UUID) -> set[str]:
        """The two signers of a signature. The second commits a moment after the API shows it."""

        def both() -> set[str] | None:
            found = self.has_signed(request_id)
            return found if len(found) == 2 else None

        signers: set[str] = until(both)
        return signers

    def has_signed(self, request_id: UUID) -> set[str]:
        """The signers in whose journals a signature is."""
        found = set()
        for signer in self.stack.signers.all:
            with psycopg.connect(signer.database_url) as connection:
                row = connection.execute(
                    "SELECT FROM journal WHERE job_id = %s AND status = 'DONE'", (request_id,)
                ).fetchone()
            if row is not None:
                found.add(signer.node_id)
        return found


def until(found: Callable[[], Any]) -> Any:
    """What is found, once something is."""
    deadline = time.monotonic() + SECONDS
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return result


@pytest.fixture(scope="package")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked-signers")
    key_file, public_file = folder / "app.pem", folder / "app-public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key_file], check=True)
    subprocess.run(["openssl", "pkey", "-in", key_file, "-pubout", "-out", public_file], check=True)
    leaf = Certificates(folder / "gate-pki").server("gate")
    gates = {name: ExampleGate(f"gate-{name}", folder / name, leaf, Tied()) for name in NAMES}
    stack = Stack(folder / "stack", StackOptions(drivers=0, signers=3, durable=False))
    try:
        start_together(list(gates.values()))
        stack.start()
        stop_together(stack.signers.all)
        for signer in stack.signers.all:
            signer.add_sections(
                {
                    "requests": {"require_signature": True},
                    "gate": gates[signer.node_id].settings(),
                }
            )
            signer.run("pin", "apps", "add", "shop", "--public-key-file", str(public_file))
        start_together(stack.signers.all)
        yield Locked(stack, gates, key_file)
    finally:
        stack.stop()
        stop_together(list(gates.values()))


@pytest.fixture(scope="package")
def custody(locked: Locked) -> Iterator[Custody]:
    with locked.client() as custody:
        yield custody


@pytest.fixture(scope="package")
def key(custody: Custody) -> Key:
    custody.create_signer_group("treasury", NAMES, 2)
    return custody.create_key(*SCHEMES["EdDSA"], Store.MPC, signer_group="treasury", wait=SECONDS)


@pytest.fixture(autouse=True)
def _all_as_they_come(locked: Locked) -> None:
    """Policies, and signers that the control plane knows to be there and well, with their gates."""
    for gate in locked.gates.values():
        gate.set_policy()
    with psycopg.connect(locked.stack.databases.control_plane, autocommit=True) as connection:
        until(
            lambda: connection.execute(
                "SELECT 1 FROM nodes HAVING count(*) FILTER (WHERE has_gate"
                " AND health ->> 'status' = 'ok') = %s",
                (len(NAMES),),
            ).fetchone()
        )


def signed(key: Key, signature: Signature, text: str) -> Signature:
    assert signature.status is SignatureStatus.SIGNED
    check_signature(key, Wanted("Message", text.encode()), signature)
    return signature


def ask(custody: Custody, key: Key, text: str) -> Signature:
    return custody.sign_message(key.id, text, wait=0)


def until_reason(custody: Custody, signature: Signature, *codes: str) -> Signature:
    """The signature once one of these is why it is not signed yet."""

    def found() -> Signature | None:
        shown = custody.get_signature(signature.key_id, signature.id)
        return shown if shown.reason is not None and shown.reason.code in codes else None

    shown: Signature = until(found)
    return shown
