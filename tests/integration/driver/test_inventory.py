"""The inventory of a driver: its keys, attested, and the outcomes of its journal."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.node import inventory
from custody.node.archivals import KeyPlace, row_of_operator, row_of_request
from custody.node.control_plane_client import ControlPlaneClient, ControlPlaneUnavailable
from custody.node.freeze import Freeze
from custody.node.inventory import InventoryReporter
from custody.node.journal import outcome_bytes
from custody.wire.algorithms import ECDSA_SECP256K1, Store
from custody.wire.inventory import Holding, InventoryPage, InventoryQuestion, PageReceived
from custody.wire.jobs import Endpoint
from custody.wire.outcomes import GeneratedKey, Outcome, OutcomeStatus
from custody.wire.signed_bytes import ATTESTATION_TYPE, PinnedKeys, SigningKey
from custody.wire.statements import Attestation, MadeFor
from hsm_driver.held_keys import DriverKeys
from tests.integration.driver.conftest import NodeParts
from tests.made_up_keys import made_up_key

QUESTION = InventoryQuestion(id=uuid4(), outcomes_since=datetime.now(UTC) - timedelta(hours=1))


class Received:
    """The control plane's side, which may be away for some pages."""

    def __init__(self) -> None:
        self.pages: list[InventoryPage] = []
        self.away = 0
        self.done = asyncio.Event()

    async def inventory(self, page: InventoryPage) -> PageReceived:
        if self.away:
            self.away -= 1
            raise ControlPlaneUnavailable("away")
        self.pages.append(page)
        if page.is_last:
            self.done.set()
        return PageReceived(wanted=not page.is_last)


class Inventory:
    """The reporter over this test's database."""

    def __init__(self, pool: Pool, node: NodeParts, state: Path) -> None:
        self.pool = pool
        self.received = Received()
        self.freeze = Freeze(state)
        self.reporter = InventoryReporter(
            cast(ControlPlaneClient, self.received),
            pool,
            self.freeze,
            DriverKeys(pool, node.name, "hsm", node.signer),
        )

    async def answer(self, question: InventoryQuestion = QUESTION) -> list[InventoryPage]:
        running = asyncio.create_task(self.reporter.answer_repeatedly())
        try:
            async with asyncio.timeout(20):
                while not self.received.done.is_set():
                    self.reporter.ask(question)  # as every heartbeat does
                    await asyncio.sleep(0.02)
        finally:
            running.cancel()
        return self.received.pages

    async def add_outcome(
        self, *, reported: bool = True, hours_ago: float = 0, status: str = "DONE"
    ) -> UUID:
        job_id = uuid4()
        await self.pool.rows(
            "INSERT INTO journal (job_id, digest, node, status, outcome, committed_at, reported_at)"
            " VALUES (:id, '', 'driver-1', :status, :outcome,"
            " now() - make_interval(secs => :seconds), :reported_at)",
            {
                "id": job_id,
                "status": status,
                "outcome": b"outcome of " + job_id.bytes,
                "seconds": hours_ago * 3600,
                "reported_at": datetime.now(UTC) if reported else None,
            },
        )
        return job_id

    async def add_key(self) -> UUID:
        key_id = uuid4()
        await self.pool.rows(
            "INSERT INTO wrapped_keys (key_id, scheme, curve, network, public_key, protection,"
            " wrapped, master_key, mechanism) VALUES (:id, 'ECDSA', 'secp256k1', 'Ethereum',"
            " :public_key, 'hsm', '', 'm', 'w')",
            {"id": key_id, "public_key": made_up_key(ECDSA_SECP256K1)},
        )
        return key_id


@pytest.fixture
def told(pool: Pool, node: NodeParts, tmp_path: Path) -> Inventory:
    return Inventory(pool, node, tmp_path)


def outcomes_of(pages: list[InventoryPage]) -> dict[UUID, bytes]:
    return {each.job_id: each.outcome for page in pages for each in page.outcomes}


async def test_every_key_is_attested_by_the_driver_that_answers(told: Inventory, node: NodeParts):
    keys = {await told.add_key() for _ in range(3)}
    held = [each for page in await told.answer() for each in page.keys]
    pinned = PinnedKeys([node.signer.public_key])
    attested = [
        Attestation.model_validate_json(pinned.open(ATTESTATION_TYPE, each.attestation))
        for each in held
        if each.attestation is not None
    ]
    assert {each.key_id for each in attested} == keys
    assert {each.made_for for each in attested} == {None}  # the journal has forgotten it
    assert {each.holding for each in held} == {Holding.IN_USE}


WANTED = MadeFor(endpoint=Endpoint.KEYS, external_id="customer-42", application=None)
OTHER_DRIVER, STRANGER = (SigningKey(Ed25519PrivateKey.generate()) for _ in range(2))


async def add_recorded_key(told: Inventory, by: SigningKey, *, imported: bool = False) -> UUID:
    """A key whose journalled outcome has an attestation of its request."""
    key_id = await told.add_key()
    update = "UPDATE wrapped_keys SET imported = :imported WHERE key_id = :id RETURNING public_key"
    [row] = await told.pool.rows(update, {"imported": imported, "id": key_id})
    attestation = Attestation(
        key_id=key_id, made_for=WANTED, store=Store.HSM, scheme="ECDSA", curve="secp256k1",
        network="Ethereum", public_key=row.public_key, protection="hsm", group="hsm", threshold=1,
        signers=["driver-1"], node="driver-1", imported=imported,
    )  # fmt: skip
    signed = by.sign(ATTESTATION_TYPE, attestation.model_dump_json().encode())
    result = GeneratedKey(
        scheme="ECDSA", curve="secp256k1", public_key=row.public_key, protection="hsm",
        attestation=signed,
    )  # fmt: skip
    outcome = Outcome(job_id=key_id, node="driver-1", status=OutcomeStatus.DONE, result=result)
    await told.pool.rows(
        "INSERT INTO journal (job_id, digest, node, status, outcome)"
        " VALUES (:id, '', 'driver-1', 'DONE', :outcome)",
        {"id": key_id, "outcome": outcome_bytes(outcome)},
    )
    return key_id


async def attested_by(told: Inventory) -> dict[UUID, Attestation]:
    held = [each for page in await told.answer() for each in page.keys]
    return {
        each.key_id: Attestation.model_validate_json(each.attestation.payload)
        for each in held
        if each.attestation is not None
    }


async def test_only_what_a_pinned_driver_has_attested_is_attested_again(
    told: Inventory, node: NodeParts
):
    """A writer of the database can put another application's request beside a key."""
    told.reporter._held_keys = DriverKeys(
        told.pool, node.name, "hsm", node.signer, [OTHER_DRIVER.public_key]
    )
    own, others = [await add_recorded_key(told, by) for by in (node.signer, OTHER_DRIVER)]
    strangers = await add_recorded_key(told, STRANGER)
    found = await attested_by(told)
    assert (found[own].made_for, found[others].made_for) == (WANTED, WANTED)
    assert found[strangers].made_for is None


async def test_an_imported_key_is_not_attested_as_a_generated_one(told: Inventory, node: NodeParts):
    key_id = await add_recorded_key(told, node.signer, imported=True)
    kept = await add_recorded_key(told, node.signer, imported=True)
    await told.pool.rows(
        "UPDATE wrapped_keys SET imported = false WHERE key_id = :id", {"id": key_id}
    )
    found = await attested_by(told)
    assert found.keys() == {kept}
    assert found[kept].imported


async def test_a_damaged_row_is_left_out(told: Inventory):
    key, damaged = await told.add_key(), await told.add_key()
    await told.pool.rows(
        "UPDATE wrapped_keys SET network = 'Nowhere' WHERE key_id = :id", {"id": damaged}
    )
    held = [each for page in await told.answer() for each in page.keys]
    [left] = [each.key_id for each in held]
    assert left == key


async def test_final_outcomes_since_the_backup_come_byte_for_byte(told: Inventory):
    new = [await told.add_outcome() for _ in range(3)]
    await told.add_outcome(hours_ago=2)
    await told.add_outcome(status="FAILED")
    assert outcomes_of(await told.answer()) == {each: b"outcome of " + each.bytes for each in new}


async def test_many_outcomes_come_in_pages(told: Inventory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inventory, "MAX_PAGE", 2)
    new = {await told.add_outcome() for _ in range(5)}
    pages = await told.answer()
    assert outcomes_of(pages).keys() == new
    assert [page.number for page in pages] == list(range(len(pages)))
    assert max(len(page.outcomes) for page in pages) == 2


async def test_a_frozen_node_sends_only_what_has_left_it_before(told: Inventory):
    reported = await told.add_outcome()
    await told.add_outcome(reported=False)
    told.freeze.freeze("somebody is at the door")
    pages = await told.answer()
    assert outcomes_of(pages).keys() == {reported}
    assert pages[-1].held_back == 1


async def archive(pool: Pool, place: KeyPlace, number: int, *, is_archived: bool = True) -> None:
    row = row_of_request(place, number, uuid4(), is_archived=is_archived)
    await pool.rows(row.sql, row.alone)


async def test_archived_keys_are_stated_with_who_archived_them(
    told: Inventory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inventory, "MAX_PAGE", 2)
    root, other, undone = sorted(uuid4() for _ in range(3))
    for place in (KeyPlace(root, "m"), KeyPlace(root, "m/0/5"), KeyPlace(other, "m")):
        await archive(told.pool, place, 1)
    await archive(told.pool, KeyPlace(undone, "m"), 1)
    await archive(told.pool, KeyPlace(undone, "m"), 2, is_archived=False)
    row = row_of_operator(KeyPlace(root, "m"), 1, "bo", "found it in a leak", is_archived=True)
    await told.pool.rows(row.sql, row.alone)
    pages = await told.answer(QUESTION.model_copy(update={"archived": True}))
    stated = [
        (each.root_id, each.path, each.by)
        for each_page in pages
        for each in each_page.archived or ()
    ]
    assert stated == [
        (root, (), "operator"),
        (root, (), "request"),
        (root, (0, 5), "request"),
        (other, (), "request"),
    ]
    assert pages[-1].archived == ()


async def test_an_earlier_control_plane_gets_the_pages_that_it_can_read(told: Inventory):
    await archive(told.pool, KeyPlace(uuid4(), "m"), 1)
    pages = await told.answer()
    assert [each.archived for each in pages] == [None]
    assert "archived" not in pages[0].model_dump_json()


async def test_an_inventory_that_was_cut_off_begins_again(told: Inventory):
    await told.add_outcome()
    told.received.away = 2
    assert [page.number for page in await told.answer()] == [0, 1]


async def test_a_question_is_answered_once(told: Inventory):
    pages: list[Any] = list(await told.answer())
    told.reporter.ask(QUESTION)
    assert not told.reporter._asked.is_set()
    assert told.received.pages == pages
