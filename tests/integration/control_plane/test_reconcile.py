"""What a restored control plane makes of the inventories that nodes hand in."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from custody.control_plane.cli import app
from custody.control_plane.reconcile.collector import Collector, NodeState
from custody.control_plane.reconcile.plan import Difference, Kind
from custody.control_plane.reconcile.reconcile import _compared
from custody.control_plane.settings import initialise
from custody.wire.algorithms import ECDSA_SECP256K1, Protection, Store
from custody.wire.inventory import (
    HeldKey,
    Holding,
    InventoryPage,
    InventoryQuestion,
    RecordedOutcome,
)
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.signed_bytes import ATTESTATION_TYPE, SigningKey
from custody.wire.statements import Attestation
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode
from tests.made_up_keys import made_up_key

QUESTION = InventoryQuestion(id=uuid4(), outcomes_since=datetime.now(UTC))


class Driver:
    """A driver that says what it is told to say."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.signer = SigningKey(Ed25519PrivateKey.generate())

    @property
    def state(self) -> NodeState:
        return NodeState(self.name, "hsm", Store.HSM, self.signer.public_key)

    def key(self, key_id: UUID, public_key: bytes, **changes: Any) -> HeldKey:
        facts: dict[str, Any] = {
            "key_id": key_id,
            "made_for": None,
            "store": Store.HSM,
            "scheme": ECDSA_SECP256K1.scheme,
            "curve": ECDSA_SECP256K1.curve,
            "network": None,
            "public_key": public_key,
            "protection": Protection.HSM,
            "group": "hsm",
            "threshold": 1,
            "signers": [self.name],
            "node": self.name,
        }
        attested = Attestation(**(facts | changes))
        return HeldKey(
            attestation=self.signer.sign(ATTESTATION_TYPE, attested.model_dump_json().encode()),
            holding=Holding.IN_USE,
            created_at=datetime.now(UTC),
        )

    def outcome(self, job_id: UUID, status: OutcomeStatus, **fields: Any) -> RecordedOutcome:
        outcome = Outcome(job_id=job_id, node=self.name, status=status, **fields)
        return RecordedOutcome(
            job_id=job_id,
            node=self.name,
            outcome=outcome.model_dump_json().encode(),
            committed_at=datetime.now(UTC),
        )


def page(number: int = 0, is_last: bool = True, **contents: Any) -> InventoryPage:
    return InventoryPage(question=QUESTION.id, number=number, is_last=is_last, **contents)


@pytest.fixture
def drivers() -> tuple[Driver, Driver]:
    return Driver("driver-1"), Driver("driver-2")


@pytest.fixture
async def collector(replica: Replica, drivers: tuple[Driver, Driver]) -> Collector:
    return Collector(replica.database, QUESTION, [driver.state for driver in drivers])


async def found(replica: Replica, collector: Collector) -> list[Difference]:
    return await _compared(replica.database, collector)


async def public_key_of(replica: Replica, key: UUID) -> bytes:
    row = await replica.database.row("SELECT public_key FROM keys WHERE id = :id", {"id": key})
    assert row is not None
    made: bytes = row.public_key
    return made


async def test_a_key_that_both_know_is_not_a_difference(replica, collector, drivers, key: UUID):
    held = drivers[0].key(key, await public_key_of(replica, key))
    assert not await collector.take("driver-1", page(keys=(held,)))
    assert await found(replica, collector) == []


async def test_a_key_that_no_node_holds_is_named(replica, collector, key: UUID):
    await collector.take("driver-1", page())
    [difference] = await found(replica, collector)
    assert (difference.kind, difference.id) == (Kind.MISSING_KEY, str(key))
    assert difference.repair is None


async def test_nothing_is_missing_at_nodes_that_did_not_answer(replica, collector, key: UUID):
    await collector.take("driver-1", page(is_last=False))
    assert await found(replica, collector) == []
    assert collector.missing == ["driver-1", "driver-2"]


async def test_another_public_key_is_never_taken_over(replica, collector, drivers, key: UUID):
    held = drivers[0].key(key, made_up_key(ECDSA_SECP256K1, 7))
    await collector.take("driver-1", page(keys=(held,)))
    [difference] = await found(replica, collector)
    assert (difference.kind, difference.repair) == (Kind.CONTRADICTION, None)


async def test_one_driver_answers_for_its_group(collector):
    assert collector.wants("driver-1")
    await collector.take("driver-1", page(is_last=False))
    assert collector.wants("driver-1")
    assert not collector.wants("driver-2")
    await collector.take("driver-1", page(1))
    assert not collector.wants("driver-1")
    assert collector.missing == []
    assert not collector.wants("a stranger")


async def test_an_inventory_that_begins_again_replaces_the_first(replica, collector, drivers):
    unknown = drivers[0].key(uuid4(), made_up_key(ECDSA_SECP256K1))
    await collector.take("driver-1", page(is_last=False, keys=(unknown,)))
    assert not await collector.take("driver-1", page(2))  # a page is missing
    await collector.take("driver-1", page())
    assert await found(replica, collector) == []


async def test_a_driver_that_lies_is_named_and_counts_as_not_asked(replica, collector, drivers):
    forged = drivers[1].key(uuid4(), made_up_key(ECDSA_SECP256K1))
    assert not await collector.take("driver-1", page(keys=(forged,)))
    [difference] = await found(replica, collector)
    assert (difference.kind, difference.id) == (Kind.UNKNOWN_NODE, "driver-1")
    assert "driver-1" in collector.missing


async def test_outcomes_are_compared_with_the_requests(
    replica, collector, drivers, api, key: UUID, node: MemoryNode
):
    urls = [f"/v1/keys/{key}/signatures"] * 3
    body = {"kind": "Hash", "hash": "0x" + "5c" * 32}
    asked = [UUID((await api.post(url, json=body)).json()["id"]) for url in urls]
    claimed = {job.job_id: job for job in await node.claim()}
    done, open_, denied = asked
    outcome = node.do(claimed[done])
    await node.report([(claimed[done], outcome)])
    same = RecordedOutcome(
        job_id=done,
        node="driver-1",
        outcome=outcome.model_dump_json().encode(),
        committed_at=datetime.now(UTC),
    )
    told = [
        same,
        drivers[0].outcome(open_, OutcomeStatus.DONE, result=node.do(claimed[open_]).result),
        drivers[0].outcome(denied, OutcomeStatus.DENIED, code="rejected", reason="no"),
        drivers[0].outcome(uuid4(), OutcomeStatus.DONE, result=outcome.result),
        drivers[0].outcome(uuid4(), OutcomeStatus.DENIED, code="rejected", reason="no"),
    ]
    held = drivers[0].key(key, await public_key_of(replica, key))
    await collector.take("driver-1", page(keys=(held,), outcomes=tuple(told)))
    kinds = [(each.kind, each.id) for each in await found(replica, collector)]
    assert kinds == [
        (Kind.OUTCOME, str(open_)),
        (Kind.OUTCOME, str(denied)),
        (Kind.UNKNOWN_SIGNATURE, str(told[3].job_id)),
    ]


async def test_another_end_of_a_finished_request_is_shown_and_stays(
    replica, collector, drivers, api, key: UUID, node: MemoryNode
):
    body = {"kind": "Hash", "hash": "0x" + "5c" * 32}
    asked = UUID((await api.post(f"/v1/keys/{key}/signatures", json=body)).json()["id"])
    assert await node.work() == 1
    other = drivers[0].outcome(asked, OutcomeStatus.DENIED, code="rejected", reason="no")
    held = drivers[0].key(key, await public_key_of(replica, key))
    await collector.take("driver-1", page(keys=(held,), outcomes=(other,)))
    [difference] = await found(replica, collector)
    assert (difference.kind, difference.repair) == (Kind.CONTRADICTION, None)


@pytest.fixture
def config(tmp_path: Path, control_plane_database: str) -> str:
    """A configuration file over this test's database."""
    path = tmp_path / "control-plane.toml"
    initialise(path)
    url = f'url = "{control_plane_database}"'
    path.write_text(re.sub(r"^url =.*$", url, path.read_text(), flags=re.MULTILINE))
    return str(path)


def test_it_refuses_to_run_beside_a_replica(config: str, control_plane_database: str):
    """A replica that runs would end requests, and answer applications, from an old database."""
    with psycopg.connect(control_plane_database, application_name="control-plane"):
        done = CliRunner().invoke(app, ["--config", config, "reconcile"])
    assert done.exit_code == 1
    assert "Stop every replica" in done.output


def test_it_names_an_application_that_the_backup_lacks(config: str):
    done = CliRunner().invoke(app, ["--config", config, "reconcile", "--application", "shop"])
    assert done.exit_code == 1
    assert "no application 'shop'" in done.output
