"""Archived, imported and copied keys, which a restored control plane learns from the nodes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from coincurve import PrivateKey

from custody.control_plane.reconcile.archived_keys import archived_differences
from custody.control_plane.reconcile.collector import Collector, NodeState
from custody.control_plane.reconcile.plan import Difference, Finish, Kind
from custody.control_plane.reconcile.reconcile import Options, Reconciled, _repair_all
from custody.control_plane.reconcile.repair import NotRepaired
from custody.control_plane.settings import Settings, initialise
from custody.runtime.configuration import read_settings
from custody.wire.algorithms import Store
from custody.wire.inventory import ArchivedKey, HeldKey, Holding
from custody.wire.jobs import Endpoint, JobKind
from custody.wire.outcomes import NothingMade, OutcomeStatus
from custody.wire.statements import MadeFor
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode
from tests.integration.control_plane.test_archivals import MESSAGE, change
from tests.integration.control_plane.test_imports import MINE, SECP256K1, imported, ready
from tests.integration.control_plane.test_reconcile import (
    HONEST_KEY,
    KEY_OF_THE_LIAR,
    QUESTION,
    SIGNERS,
    Driver,
    Signers,
    found,
    page,
    public_key_of,
)

AT = datetime.now(UTC) - timedelta(hours=1)


def archived(root_id: UUID, *path: int, by: Any = "request") -> ArchivedKey:
    return ArchivedKey(root_id=root_id, path=path, by=by, archived_at=AT)


class Restored:
    """A restored control plane, one driver, and what the driver hands in."""

    def __init__(self, replica: Replica, settings: Settings, application: UUID) -> None:
        self.replica = replica
        self.settings = settings
        self.application = application
        self.driver = Driver("driver-1")

    async def told(self, **contents: Any) -> Collector:
        """Return what the inventory of the driver is compared with."""
        collector = Collector(self.replica.database, QUESTION, [self.driver.state])
        await collector.take("driver-1", page(**contents))
        return collector

    async def repaired(self, collector: Collector) -> Reconciled:
        """Return what `reconcile --apply` has repaired, and what it left."""
        all_found = Reconciled(None, await found(self.replica, collector))
        await _repair_all(
            self.replica.database,
            self.settings,
            Options(1, True, "app"),
            self.application,
            collector,
            all_found,
        )
        return all_found

    async def differences(self, collector: Collector) -> list[Difference]:
        return await archived_differences(self.replica.database, collector)

    async def held(self, key: UUID) -> HeldKey:
        return self.driver.key(key, await public_key_of(self.replica, key))


@pytest.fixture
async def restored(
    replica: Replica, api: httpx.AsyncClient, tmp_path: Path, control_plane_database: str
) -> Restored:
    path = tmp_path / "control-plane.toml"
    initialise(path)
    row = await replica.database.row("SELECT id FROM applications")
    assert row is not None
    settings = read_settings(path, Settings)
    database = settings.database.model_copy(update={"url": control_plane_database})
    return Restored(replica, settings.model_copy(update={"database": database}), row.id)


@pytest.fixture
async def signers(replica: Replica, api: httpx.AsyncClient) -> Signers:
    signers = Signers(replica, api)
    await signers.register()
    row = await replica.database.row("SELECT id FROM applications")
    assert row is not None
    signers.application = row.id
    return signers


async def test_a_key_that_nodes_have_archived_is_archived_again(
    restored: Restored, api: httpx.AsyncClient, key: UUID
):
    collector = await restored.told(keys=(await restored.held(key),), archived=(archived(key),))
    done = await restored.repaired(collector)
    assert ([each.kind for each in done.repaired], done.differences) == ([Kind.ARCHIVED], [])
    shown = (await api.get(f"/v1/keys/{key}")).json()
    assert datetime.fromisoformat(shown["archived_at"]) == AT
    refused = await api.post(f"/v1/keys/{key}/signatures", json=MESSAGE)
    assert_problem(refused, 409, "key_archived")
    assert await restored.differences(collector) == []


async def test_an_operators_archival_is_only_told(restored: Restored, key: UUID):
    collector = await restored.told(
        keys=(await restored.held(key),), archived=(archived(key, by="operator"),)
    )
    assert await restored.differences(collector) == []
    assert collector.stopped_by_operators == {(key, ()): {"driver-1"}}


async def test_a_key_is_never_unarchived_because_a_node_has_forgotten_it(
    restored: Restored, api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    await change(api, node, key, "archive")
    earlier = await restored.told(keys=(await restored.held(key),))
    assert await restored.differences(earlier) == []  # an earlier version does not say
    done = await restored.repaired(
        await restored.told(keys=(await restored.held(key),), archived=())
    )
    assert done.repaired == []
    [difference] = done.differences
    assert (difference.kind, difference.nodes) == (Kind.ARCHIVED, ("driver-1",))
    assert (await api.get(f"/v1/keys/{key}")).json()["archived_at"] is not None


async def test_an_adopted_key_is_archived_with_its_adoption(
    restored: Restored, api: httpx.AsyncClient, key: UUID
):
    known, lost = await restored.held(key), uuid4()
    collector = await restored.told(
        keys=(known, restored.driver.key(lost, MINE.public_key.format())),
        archived=(archived(lost),),
    )
    [difference] = await restored.differences(collector)
    assert difference.repair is None
    assert "no such key" in difference.what
    done = await restored.repaired(collector)
    assert [each.kind for each in done.repaired] == [Kind.UNKNOWN_KEY, Kind.ARCHIVED]
    assert (await api.get(f"/v1/keys/{lost}")).json()["archived_at"] is not None


async def test_a_later_archival_outlives_an_outcome_that_unarchives(
    restored: Restored, api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    """The backup contains an open request to un-archive, and not the later one to archive."""
    await change(api, node, key, "archive")
    opened = (await api.post(f"/v1/keys/{key}/unarchive", json={})).json()
    outcome = restored.driver.outcome(UUID(opened["id"]), OutcomeStatus.DONE, result=NothingMade())
    collector = await restored.told(
        keys=(await restored.held(key),), outcomes=(outcome,), archived=(archived(key),)
    )
    done = await restored.repaired(collector)
    assert [each.kind for each in done.repaired] == [Kind.OUTCOME, Kind.ARCHIVED]
    assert (await api.get(f"/v1/keys/{key}")).json()["archived_at"] is not None


async def test_the_journal_ends_open_requests_of_each_kind(
    restored: Restored, api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    prepared = await ready(api, node)
    asked = [
        await api.post(f"/v1/keys/{key}/archive", json={}),
        await api.post("/v1/imports", json=SECP256K1),
        await api.post("/v1/keys", json=imported(prepared["id"])),
    ]
    claimed = await node.claim()
    kinds = {node.read(job).kind for job in claimed}
    assert kinds == {JobKind.ARCHIVE_KEY, JobKind.PREPARE_IMPORT, JobKind.IMPORT_KEY}
    outcomes = tuple(
        restored.driver.outcome(job.job_id, OutcomeStatus.DONE, result=node.do(job).result)
        for job in claimed
    )
    new = restored.driver.key(UUID(asked[2].json()["id"]), MINE.public_key.format(), imported=True)
    collector = await restored.told(
        keys=(await restored.held(key), new.model_copy(update={"outcome": outcomes[0].outcome})),
        outcomes=outcomes,
        archived=(archived(key),),
    )
    done = await restored.repaired(collector)
    assert {each.kind for each in done.repaired} == {Kind.OUTCOME}
    assert done.differences == []
    shown = [(await api.get(each.headers["location"])).json()["status"] for each in asked]
    assert shown == ["Done", "Ready", "Active"]


async def test_an_import_that_the_backup_lacks_is_found_by_the_application(
    restored: Restored, api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    lost = uuid4()
    made_for = MadeFor(endpoint=Endpoint.KEYS, external_id="mine", application=None, imported=True)
    held = restored.driver.key(lost, MINE.public_key.format(), imported=True, made_for=made_for)
    done = await restored.repaired(
        await restored.told(keys=(await restored.held(key), held), archived=())
    )
    assert [each.kind for each in done.repaired] == [Kind.UNKNOWN_KEY]
    assert (await api.get(f"/v1/keys/{lost}")).json()["imported"] is True
    import_id = (await ready(api, node))["id"]
    again = await api.post("/v1/keys", json={**imported(import_id), "external_id": "mine"})
    assert (again.status_code, again.json()["id"]) == (200, str(lost))
    another = {**imported(import_id, PrivateKey(b"\5" * 32)), "external_id": "mine"}
    assert_problem(await api.post("/v1/keys", json=another), 409, "external_id_conflict")


async def archived_at(signers: Signers, key_id: UUID, names: Sequence[str]) -> list[Difference]:
    """Return what differs if these signers have archived a key."""
    states = [
        NodeState(name, "mpc", Store.MPC, identity.public_key)
        for name, identity in signers.identities.items()
    ]
    collector = Collector(signers.replica.database, QUESTION, states)
    for name in SIGNERS:
        said = (archived(key_id),) if name in names else ()
        await collector.take(name, page(archived=said))
    return await archived_differences(signers.replica.database, collector)


async def test_so_many_signers_archive_a_key_that_the_others_cannot_sign(signers: Signers):
    key_id, _ = await signers.finished()
    assert await archived_at(signers, key_id, ()) == []
    [one] = await archived_at(signers, key_id, SIGNERS[:1])
    assert (one.repair, one.nodes) == (None, SIGNERS[:1])
    assert "not at signer-2, signer-3" in one.what
    [two] = await archived_at(signers, key_id, SIGNERS[:2])
    await signers.apply(two)
    [late] = await archived_at(signers, key_id, SIGNERS[:2])
    assert (late.repair, late.nodes) == (None, SIGNERS[2:])
    assert await archived_at(signers, key_id, SIGNERS) == []
    with pytest.raises(NotRepaired):
        await signers.apply(two)


async def test_an_open_request_settles_the_difference_after_the_start(
    signers: Signers, api: httpx.AsyncClient
):
    key_id, _ = await signers.finished()
    assert (await api.post(f"/v1/keys/{key_id}/archive", json={})).status_code == 201
    assert await archived_at(signers, key_id, SIGNERS[:1]) == []


async def test_a_derived_key_that_the_backup_lacks_is_named_by_its_path(signers: Signers):
    key_id, _ = await signers.finished()
    states = [NodeState(SIGNERS[0], "mpc", Store.MPC, b"")]
    collector = Collector(signers.replica.database, QUESTION, states)
    await collector.take(SIGNERS[0], page(archived=(archived(key_id, 0, 5),)))
    [difference] = await archived_differences(signers.replica.database, collector)
    assert (difference.id, difference.repair) == (str(key_id), None)
    assert "m/0/5" in difference.what


PAIR = SIGNERS[:2]
TREASURY_HOLDS = {"group": "treasury", "threshold": 2, "signers": list(SIGNERS)}


def a_copy(
    signers: Signers, key_id: UUID, copied_from: UUID, **changes: Any
) -> dict[str, list[HeldKey]]:
    made_for = MadeFor(
        endpoint=Endpoint.COPIES, external_id="move", application=None, copied_from=copied_from
    )
    facts: dict[str, Any] = {"group": "pair", "signers": list(PAIR), "made_for": made_for}
    facts |= changes
    return {name: [signers.held(name, key_id, **facts)] for name in PAIR}


async def add_pair(api: httpx.AsyncClient) -> None:
    body = {"name": "pair", "signers": list(PAIR), "threshold": 2}
    assert (await api.post("/v1/signer-groups", json=body)).status_code == 201


async def test_a_copy_is_adopted_after_the_key_that_it_is_of(
    signers: Signers, api: httpx.AsyncClient, restored: Restored
):
    await add_pair(api)
    origin, copy_id = uuid4(), uuid4()
    said = a_copy(signers, copy_id, origin)
    states = [
        NodeState(name, "mpc", Store.MPC, identity.public_key)
        for name, identity in signers.identities.items()
    ]
    collector = Collector(signers.replica.database, QUESTION, states)
    for name in SIGNERS:
        keys = (*said.get(name, ()), signers.held(name, origin))
        await collector.take(name, page(keys=keys, archived=()))
    done = await restored.repaired(collector)
    assert {each.id for each in done.repaired} == {str(origin), str(copy_id)}
    assert done.differences == []
    shown = (await api.get(f"/v1/keys/{copy_id}")).json()
    assert (shown["copied_from"], shown["status"]) == (str(origin), "Active")
    body = {"signer_group": "pair", "external_id": "move"}
    named = {"threshold": 2, "signers": list(PAIR[::-1]), "held_by": TREASURY_HOLDS}
    for repeated in (body, body | named):  # as a client without pins, and with pins
        again = await api.post(f"/v1/keys/{origin}/copy", json=repeated)
        assert (again.status_code, again.json().get("id")) == (200, str(copy_id)), again.text


async def test_a_copy_is_adopted_whose_origin_has_been_erased(
    signers: Signers, api: httpx.AsyncClient
):
    """Nobody attests the copied key any more, and the copy is what its application has left."""
    await add_pair(api)
    origin, copy_id = uuid4(), uuid4()
    said = a_copy(signers, copy_id, origin)
    for name in SIGNERS:
        held = signers.held(name, origin)
        gone = held.model_copy(update={"holding": Holding.ERASED, "attestation": None})
        said.setdefault(name, []).append(gone)
    [difference] = await signers.differences(said)
    await signers.apply(difference)
    shown = (await api.get(f"/v1/keys/{copy_id}")).json()
    assert (shown["copied_from"], shown["status"]) == (str(origin), "Active")


@pytest.mark.parametrize(
    ("what", "value"), [("public_key", KEY_OF_THE_LIAR), ("network", None), ("imported", True)]
)
async def test_a_copy_that_is_another_key_than_the_copied_one_is_not_adopted(
    signers: Signers, api: httpx.AsyncClient, what: str, value: Any
):
    """New signers may have been told another old group, of liars."""
    await add_pair(api)
    origin, _ = await signers.finished()
    said = a_copy(signers, uuid4(), origin, **{what: value})
    [difference] = [each for each in await signers.differences(said) if each.repair is not None]
    with pytest.raises(NotRepaired, match=f"with another {what}"):
        await signers.apply(difference)


async def test_a_copy_goes_to_the_application_of_the_copied_key(
    signers: Signers, api: httpx.AsyncClient
):
    await add_pair(api)
    origin, _ = await signers.finished()
    said = a_copy(signers, uuid4(), origin)
    [difference] = [each for each in await signers.differences(said) if each.repair is not None]
    signers.application = uuid4()
    with pytest.raises(NotRepaired, match="another application's"):
        await signers.apply(difference)


async def test_a_copy_that_its_signers_use_is_finished(signers: Signers, api: httpx.AsyncClient):
    await add_pair(api)
    origin, set_id = await signers.finished()
    made = await api.post(f"/v1/keys/{origin}/copy", json={"signer_group": "pair"})
    assert made.status_code == 201, made.text
    copy_id = UUID(made.json()["id"])
    said = a_copy(signers, copy_id, origin)
    for name in SIGNERS:
        known = signers.held(name, origin, share_set_id=set_id)
        said.setdefault(name, []).append(known)
    [difference] = await signers.differences(said)
    assert isinstance(difference.repair, Finish)
    await signers.apply(difference)
    assert (await signers.row(copy_id)).public_key == HONEST_KEY
    shown = (await api.get(f"/v1/keys/{copy_id}")).json()
    assert (shown["status"], shown["copied_from"]) == ("Active", str(origin))
