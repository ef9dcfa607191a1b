"""What a restored control plane makes of the inventories that nodes hand in."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, insert
from typer.testing import CliRunner

from custody.control_plane.audit.own_chain import Auditor
from custody.control_plane.cli import app
from custody.control_plane.reconcile import audited
from custody.control_plane.reconcile.collector import Collector, NodeState
from custody.control_plane.reconcile.holdings import SignerGroup, agreed_by_signers, open_held
from custody.control_plane.reconcile.plan import Difference, Finish, Kind, UseShareSet
from custody.control_plane.reconcile.reconcile import _compared, _groups
from custody.control_plane.reconcile.repair import NotRepaired, Repairs
from custody.control_plane.resources.creation import Creation
from custody.control_plane.settings import initialise
from custody.control_plane.tables import nodes, steps
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    Network,
    Protection,
    Store,
)
from custody.wire.inventory import (
    HeldKey,
    Holding,
    InventoryPage,
    InventoryQuestion,
    RecordedOutcome,
)
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.outcomes import MadeSignature, Outcome, OutcomeStatus
from custody.wire.possession import possession_request
from custody.wire.requests import SignMessage
from custody.wire.signatures import finish
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
            key_id=key_id,
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


async def found(
    replica: Replica, collector: Collector, named: Sequence[SignerGroup] = ()
) -> list[Difference]:
    groups = await _groups(replica.database, named)
    return await _compared(replica.database, collector, groups)


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


SIGNERS = ("signer-1", "signer-2", "signer-3")
TREASURY = SignerGroup("treasury", 2, SIGNERS)
LIAR = SIGNERS[0]
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes((3).to_bytes(32))
HONEST_KEY, KEY_OF_THE_LIAR = made_up_key(EDDSA_ED25519, 3), made_up_key(EDDSA_ED25519, 4)


class Signers:
    """The signers of a database's only group, which say what each is told to say."""

    def __init__(self, replica: Replica, api: httpx.AsyncClient) -> None:
        self.replica = replica
        self.api = api
        self.application: UUID | None = None
        self.identities = {name: SigningKey(Ed25519PrivateKey.generate()) for name in SIGNERS}

    async def register(self) -> None:
        async with self.replica.engine.begin() as connection:
            for name in SIGNERS:
                row = {
                    "id": name,
                    "node_group": "mpc",
                    "capabilities": {"EdDSA/ed25519": "mpc"},
                    "health": {"status": "ok", "detail": None},
                    "last_seen": func.now(),
                }
                await connection.execute(insert(nodes).values(row))
        body = {"name": "treasury", "signers": list(SIGNERS), "threshold": 2}
        assert (await self.api.post("/v1/signer-groups", json=body)).status_code == 201

    async def unfinished(self) -> UUID:
        """Return the id of a wallet's key, whose request is not finished."""
        body = {"network": "Solana", "store": "mpc", "signer_group": "treasury"}
        made = await self.api.post("/v1/wallets", json=body)
        assert made.status_code == 201, made.text
        return UUID(made.json()["key_id"])

    async def finished(self) -> tuple[UUID, UUID]:
        """Return the id of an Active key, and that of its set of shares."""
        key_id, share_set_id = await self.unfinished(), uuid4()
        said = {name: [self.held(name, key_id, share_set_id=share_set_id)] for name in SIGNERS}
        [difference] = await self.differences(said)
        await self.apply(difference)
        return key_id, share_set_id

    def held(self, name: str, key_id: UUID, *, generation: int = 0, **changes: Any) -> HeldKey:
        share_set_id = changes.pop("share_set_id", key_id)
        facts: dict[str, Any] = {
            "key_id": key_id,
            "made_for": None,
            "store": Store.MPC,
            "scheme": EDDSA_ED25519.scheme,
            "curve": EDDSA_ED25519.curve,
            "network": Network.SOLANA,
            "public_key": HONEST_KEY,
            "protection": Protection.MPC,
            "group": "treasury",
            "threshold": 2,
            "signers": list(SIGNERS),
            "node": name,
        }
        payload = Attestation(**(facts | changes)).model_dump_json().encode()
        return HeldKey(
            key_id=key_id,
            attestation=self.identities[name].sign(ATTESTATION_TYPE, payload),
            holding=Holding.IN_USE,
            created_at=datetime.now(UTC),
            generation=generation,
            share_set_id=share_set_id,
        )

    async def differences(
        self, said: Mapping[str, Sequence[HeldKey]], named: Sequence[SignerGroup] = ()
    ) -> list[Difference]:
        """Return what differs, when every signer hands in its inventory."""
        states = [
            NodeState(name, "mpc", Store.MPC, identity.public_key)
            for name, identity in self.identities.items()
        ]
        collector = Collector(self.replica.database, QUESTION, states)
        for name in SIGNERS:
            await collector.take(name, page(keys=tuple(said.get(name, ()))))
        return await found(self.replica, collector, named)

    @property
    def repairs(self) -> Repairs:
        replica = self.replica
        creation = Creation(replica.database, replica.queue, replica.notifications)
        stores = {Store.HSM: "hsm", Store.MPC: "mpc"}
        return Repairs(
            replica.database, replica.queue, creation, replica.signer, stores, self.application
        )

    async def apply(self, difference: Difference) -> None:
        assert difference.repair is not None, difference
        await self.repairs.apply(difference.repair)

    async def row(self, key_id: UUID) -> Any:
        return await self.replica.database.row(
            "SELECT public_key, share_set_id, generation, signer_group FROM keys WHERE id = :id",
            {"id": key_id},
        )


@pytest.fixture
async def signers(replica: Replica, api: httpx.AsyncClient) -> Signers:
    signers = Signers(replica, api)
    await signers.register()
    row = await replica.database.row("SELECT id FROM applications")
    assert row is not None
    signers.application = row.id
    return signers


async def test_all_signers_finish_an_unfinished_request(signers: Signers):
    key_id, share_set_id = await signers.finished()
    row = await signers.row(key_id)
    assert (row.public_key, row.share_set_id) == (HONEST_KEY, share_set_id)


async def test_a_key_is_adopted_only_for_a_named_application(signers: Signers):
    key_id, named = uuid4(), signers.application
    [difference] = await signers.differences(
        {name: [signers.held(name, key_id)] for name in SIGNERS}
    )
    signers.application = None
    with pytest.raises(NotRepaired, match="--application"):
        await signers.apply(difference)
    assert await signers.row(key_id) is None
    signers.application = named
    await signers.apply(difference)
    assert (await signers.row(key_id)).public_key == HONEST_KEY


async def test_the_audit_says_what_a_run_is_about_to_repair(
    signers: Signers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audited, "PAGE", 2)
    key_ids = [uuid4() for _ in range(3)]
    differences = await signers.differences(
        {name: [signers.held(name, key_id) for key_id in key_ids] for name in SIGNERS}
    )
    database, auditor = signers.replica.database, Auditor("bo", signers.replica.signer)
    await audited.record_repairs(database, auditor, "shop", [TREASURY], differences)
    records = [json.loads(row.record) for row in await database.rows("SELECT record FROM audit")]
    assert {(each["kind"], each["operator"]) for each in records} == {("Reconcile", "bo")}
    ids = [each["details"].pop("ids").split() for each in records]
    assert [len(each) for each in ids] == [2, 1]
    assert {each for page in ids for each in page} == {f"unknown_key:{each}" for each in key_ids}
    assert (
        records[0]["details"]
        == records[1]["details"]
        == {
            "application": "shop",
            "signer_groups": "treasury=2:signer-1,signer-2,signer-3",
            "repairs": "3 unknown_key",
        }
    )


LIES_OF_A_GROUP: list[dict[str, Any]] = [
    {"signers": [LIAR], "threshold": 1},
    {"signers": [LIAR, SIGNERS[1]]},
    {"group": "of-the-liar", "signers": [LIAR], "threshold": 1},
    {},
]


@pytest.mark.parametrize("lie", LIES_OF_A_GROUP)
async def test_one_signer_never_finishes_a_request_with_its_own_key(
    signers: Signers, lie: dict[str, Any]
):
    key_id = await signers.unfinished()
    said = {LIAR: [signers.held(LIAR, key_id, public_key=KEY_OF_THE_LIAR, **lie)]}
    differences = await signers.differences(said)
    assert [each.repair for each in differences] == [None]
    assert (await signers.row(key_id)).public_key is None


@pytest.mark.parametrize("lie", LIES_OF_A_GROUP)
async def test_one_signer_never_has_a_key_of_its_own_adopted(signers: Signers, lie: dict[str, Any]):
    said = {LIAR: [signers.held(LIAR, uuid4(), public_key=KEY_OF_THE_LIAR, **lie)]}
    assert [each.repair for each in await signers.differences(said)] == [None]


async def test_honest_signers_that_agree_with_the_database_stop_a_lie_about_the_set(
    signers: Signers,
):
    key_id, share_set_id = await signers.finished()
    honest = {name: [signers.held(name, key_id, share_set_id=share_set_id)] for name in SIGNERS[1:]}
    for lie in LIES_OF_A_GROUP:
        other = signers.held(LIAR, key_id, share_set_id=uuid4(), generation=1, **lie)
        differences = await signers.differences({LIAR: [other], **honest})
        assert all(each.repair is None for each in differences), differences
        assert differences[0].nodes == (LIAR,)
    refreshed = uuid4()
    said = {
        name: [signers.held(name, key_id, share_set_id=refreshed, generation=1)] for name in SIGNERS
    }
    [difference] = await signers.differences(said)
    await signers.apply(difference)
    row = await signers.row(key_id)
    assert (row.share_set_id, row.generation) == (refreshed, 1)


async def test_a_key_of_an_unknown_group_is_adopted_if_the_operator_names_the_group(
    signers: Signers,
):
    key_id, pair = uuid4(), SignerGroup("pair", 2, SIGNERS[:2])
    facts: dict[str, Any] = {"group": "pair", "signers": list(SIGNERS[:2])}
    said = {name: [signers.held(name, key_id, **facts)] for name in SIGNERS[:2]}
    [listed] = await signers.differences(said)
    assert (listed.kind, listed.repair) == (Kind.UNKNOWN_KEY, None)
    assert f"--signer-group {pair}" in listed.todo
    [other] = await signers.differences(said, [SignerGroup("pair", 2, SIGNERS)])
    assert other.repair is None
    [named] = await signers.differences(said, [pair])
    await signers.apply(named)
    assert (await signers.row(key_id)).signer_group == "pair"
    assert await _groups(signers.replica.database, []) == {"treasury": TREASURY, "pair": pair}


async def test_a_repair_compares_the_group_with_the_row_again(signers: Signers):
    key_id, _ = await signers.finished()
    held = {
        name: open_held(
            name,
            "mpc",
            Store.MPC,
            signers.identities[name].public_key,
            signers.held(name, key_id, group="pair", signers=list(SIGNERS[:2])),
        )
        for name in SIGNERS[:2]
    }
    key = agreed_by_signers(held, SignerGroup("pair", 2, SIGNERS[:2]))
    for repair in (Finish(key), UseShareSet(key)):
        with pytest.raises(NotRepaired, match="signer group"):
            await signers.repairs.apply(repair)


async def test_a_group_that_the_database_has_is_not_named_otherwise(signers: Signers):
    database = signers.replica.database
    assert await _groups(database, [TREASURY]) == {"treasury": TREASURY}
    with pytest.raises(OperatorError, match="is there already"):
        await _groups(database, [SignerGroup("treasury", 2, SIGNERS[:2])])


async def test_a_share_that_waits_is_listed_without_proof(signers: Signers):
    key_id = uuid4()
    waiting = signers.held(LIAR, key_id).model_copy(
        update={"attestation": None, "holding": Holding.WAITING}
    )
    [difference] = await signers.differences({LIAR: [waiting]})
    assert (difference.kind, difference.id) == (Kind.WAITING_SHARE, str(key_id))
    repaired = waiting.model_copy(update={"holding": Holding.REPAIRED})
    said = {name: [signers.held(name, key_id)] for name in SIGNERS[1:]}
    [difference] = await signers.differences({LIAR: [repaired], **said})
    assert difference.repair is None
    assert f"the share of {LIAR} is not in use" in difference.what
    uncertain = waiting.model_copy(update={"holding": Holding.UNCERTAIN})
    [difference] = await signers.differences({LIAR: [uncertain], **said})
    assert difference.repair is None
    assert f"{LIAR} was restored: let the control plane serve" in difference.todo


async def test_a_share_that_its_operator_has_erased_is_not_missing(signers: Signers):
    key_id, share_set_id = await signers.finished()
    held = {name: [signers.held(name, key_id, share_set_id=share_set_id)] for name in SIGNERS}
    [missing] = await signers.differences({**held, LIAR: []})
    assert (missing.kind, missing.nodes) == (Kind.MISSING_KEY, (LIAR,))
    erased = signers.held(LIAR, key_id).model_copy(
        update={"attestation": None, "holding": Holding.ERASED}
    )
    assert await signers.differences({**held, LIAR: [erased]}) == []


async def test_a_key_that_the_database_lacks_and_operators_have_erased_is_not_adopted(
    signers: Signers,
):
    key_id = uuid4()
    erased = signers.held(LIAR, key_id).model_copy(
        update={"attestation": None, "holding": Holding.ERASED}
    )
    assert await signers.differences({LIAR: [erased]}) == []
    said = {name: [signers.held(name, key_id)] for name in SIGNERS[1:]}
    [difference] = await signers.differences({LIAR: [erased], **said})
    assert difference.repair is None
    assert f"{LIAR}: an operator has erased the share there, as the signer says" in difference.todo


def signature(request: Any) -> MadeSignature:
    """Return a signature by the key that honest signers attest."""
    assert isinstance(request, SignMessage)
    raw = PRIVATE_KEY.sign(request.content)
    made = finish(raw, HONEST_KEY, EDDSA_ED25519, None, request, None)
    return MadeSignature(digest=None, signature=made)


def recorded(name: str, job_id: UUID, made: MadeSignature) -> RecordedOutcome:
    outcome = Outcome(job_id=job_id, node=name, status=OutcomeStatus.DONE, result=made)
    return RecordedOutcome(
        job_id=job_id,
        node=name,
        outcome=outcome.model_dump_json().encode(),
        committed_at=datetime.now(UTC),
    )


@pytest.fixture
def listening(signers: Signers) -> Collector:
    states = [
        NodeState(name, "mpc", Store.MPC, identity.public_key)
        for name, identity in signers.identities.items()
    ]
    return Collector(signers.replica.database, QUESTION, states)


async def test_the_proof_of_a_refreshed_set_is_not_an_unknown_signature(
    signers: Signers, listening: Collector
):
    key_id, _ = await signers.finished()
    refreshed = uuid4()
    made = signature(possession_request(EDDSA_ED25519, key_id, refreshed)[0])
    job_id, payment = uuid4(), signature(SignMessage(kind="Message", message="pay Bo"))
    for name in SIGNERS:
        held = signers.held(name, key_id, share_set_id=refreshed, generation=1)
        proof = recorded(name, uuid4(), made)
        said = page(keys=(held,), outcomes=(proof, recorded(name, job_id, payment)))
        await listening.take(name, said)
    kinds = [(each.kind, each.id) for each in await found(signers.replica, listening)]
    assert kinds == [
        (Kind.SHARE_SET, str(key_id)),
        (Kind.UNKNOWN_SIGNATURE, str(job_id)),
    ]


async def test_the_proof_of_a_set_that_is_not_in_use_yet_is_recognised_by_the_databases_key(
    signers: Signers, listening: Collector
):
    key_id, share_set_id = await signers.finished()
    waiting = signers.held(LIAR, key_id, share_set_id=uuid4(), generation=1).model_copy(
        update={"attestation": None, "holding": Holding.WAITING}
    )
    assert waiting.share_set_id is not None
    made = signature(possession_request(EDDSA_ED25519, key_id, waiting.share_set_id)[0])
    held = signers.held(LIAR, key_id, share_set_id=share_set_id)
    said = page(keys=(held, waiting), outcomes=(recorded(LIAR, uuid4(), made),))
    await listening.take(LIAR, said)
    assert await found(signers.replica, listening) == []


async def test_the_proof_of_a_step_that_the_database_knows_is_not_an_unknown_signature(
    signers: Signers, listening: Collector
):
    """The set was in use when the database was backed up, and no node states it any more."""
    key_id, share_set_id = await signers.finished()
    key = KeyReference(
        id=key_id,
        scheme=EDDSA_ED25519.scheme,
        curve=EDDSA_ED25519.curve,
        network=Network.SOLANA,
        public_key=HONEST_KEY,
    )
    job = Job(
        id=uuid4(),
        step_of=key_id,
        kind=JobKind.PROVE_KEY,
        group="mpc",
        key=key,
        endpoint=Endpoint.KEYS,
        request=b"{}",
        ceremony=share_set_id,
        created_at=datetime.now(UTC),
        expires_at=datetime.now(UTC),
    )
    step = {
        "id": job.id,
        "request_id": key_id,
        "number": 1,
        "kind": job.kind,
        "job_id": job.id,
        "payload": job.model_dump_json().encode(),
        "deadline": func.now(),
    }
    async with signers.replica.engine.begin() as connection:
        await connection.execute(insert(steps).values(step))
    refreshed = uuid4()
    proof = signature(possession_request(EDDSA_ED25519, key_id, share_set_id)[0])
    payment = signature(SignMessage(kind="Message", message="pay Bo"))
    for name, made in zip(SIGNERS, (proof, proof, payment), strict=True):
        held = signers.held(name, key_id, share_set_id=refreshed, generation=1)
        await listening.take(name, page(keys=(held,), outcomes=(recorded(name, job.id, made),)))
    listed = [(each.kind, each.nodes) for each in await found(signers.replica, listening)]
    assert listed == [(Kind.SHARE_SET, SIGNERS), (Kind.UNKNOWN_SIGNATURE, (SIGNERS[2],))]


async def test_no_signer_hides_the_signature_that_another_signer_states(
    signers: Signers, listening: Collector
):
    key_id, share_set_id = await signers.finished()
    other, job_id = uuid4(), uuid4()
    lie = signers.held(LIAR, key_id, share_set_id=other, generation=1)
    made = signature(possession_request(EDDSA_ED25519, key_id, other)[0])
    await listening.take(LIAR, page(keys=(lie,), outcomes=(recorded(LIAR, job_id, made),)))
    honest = signers.held(SIGNERS[1], key_id, share_set_id=share_set_id)
    payment = signature(SignMessage(kind="Message", message="pay Bo"))
    of_the_lie = recorded(SIGNERS[1], uuid4(), made)  # a set that this signer does not state
    said = page(keys=(honest,), outcomes=(recorded(SIGNERS[1], job_id, payment), of_the_lie))
    await listening.take(SIGNERS[1], said)
    listed = [
        (each.id, each.nodes)
        for each in await found(signers.replica, listening)
        if each.kind is Kind.UNKNOWN_SIGNATURE
    ]
    assert listed == [(str(each.job_id), (SIGNERS[1],)) for each in said.outcomes]


@pytest.mark.parametrize("text", ["two", "two=2", "two=x:a,b", "two=1:a,b", "two=2:a,a", "=2:a,b"])
def test_an_option_that_names_no_signer_group_is_refused(config: str, text: str):
    done = CliRunner().invoke(app, ["--config", config, "reconcile", "--signer-group", text])
    assert done.exit_code == 1
    assert "does not name a signer group" in done.output
