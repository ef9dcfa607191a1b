"""A wallet is archived exactly while its key is, however the key comes to be archived."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from custody.control_plane.reconcile import queries
from custody.database.engine import synchronous_engine
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode
from tests.integration.control_plane.test_archivals import change
from tests.waiting import until

SEPOLIA = {"network": "EthereumSepolia"}
ARCHIVE = text("UPDATE keys SET archived_at = now() WHERE id = :key")
ADD_WALLET = text("""
    INSERT INTO wallets (id, application_id, network, key_id, node_group, store)
    SELECT gen_random_uuid(), application_id, 'EthereumSepolia', id, node_group, store
    FROM keys WHERE id = :key
""")
BLOCKED = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
async def key_id(api: httpx.AsyncClient, node: MemoryNode) -> UUID:
    """The key of an Active Ethereum wallet. Another wallet is there too, and never archived."""
    body = {"network": "Ethereum", "store": "hsm"}
    wallets = [(await api.post("/v1/wallets", json=body)).json() for _ in range(2)]
    await node.work()
    return UUID(wallets[0]["key_id"])


@pytest.fixture
def engine(control_plane_database: str) -> Iterator[Engine]:
    """Another program at the same database."""
    engine = synchronous_engine(control_plane_database)
    yield engine
    engine.dispose()


async def archived(api: httpx.AsyncClient, **filters: str) -> set[tuple[str, str]]:
    """Return the key and network of each archived wallet."""
    answer = await api.get("/v1/wallets", params={"archived": "true", **filters})
    items = answer.json()["items"]
    assert all(each["archived_at"] is not None for each in items)
    return {(each["key_id"], each["network"]) for each in items}


def both(key_id: UUID) -> set[tuple[str, str]]:
    return {(str(key_id), "Ethereum"), (str(key_id), "EthereumSepolia")}


async def blocked(replica: Replica) -> None:
    """Return once a statement waits for a lock."""
    await until(lambda: replica.database.rows(BLOCKED))


async def test_all_wallets_of_a_key_are_archived_and_unarchived_with_it(
    api: httpx.AsyncClient, node: MemoryNode, key_id: UUID
):
    assert (await api.post(f"/v1/keys/{key_id}/wallets", json=SEPOLIA)).status_code == 201
    assert await archived(api) == set()
    await change(api, node, key_id, "archive")
    assert await archived(api) == both(key_id)
    assert await archived(api, network="EthereumSepolia") == both(key_id) - {
        (str(key_id), "Ethereum")
    }
    assert await archived(api, store="hsm", status="Active") == both(key_id)
    assert await archived(api, store="mpc") == set()
    others = (await api.get("/v1/wallets?archived=false")).json()["items"]
    assert len(others) == 1
    await change(api, node, key_id, "unarchive")
    assert await archived(api) == set()
    assert len((await api.get("/v1/wallets?archived=false")).json()["items"]) == 3


async def test_a_wallet_that_an_archived_key_gets_is_archived(
    api: httpx.AsyncClient, node: MemoryNode, key_id: UUID
):
    await change(api, node, key_id, "archive")
    assert (await api.post(f"/v1/keys/{key_id}/wallets", json=SEPOLIA)).status_code == 201
    assert await archived(api) == both(key_id)


async def test_what_reconcile_archives_has_archived_wallets(
    replica: Replica, api: httpx.AsyncClient, key_id: UUID
):
    (now,) = await replica.database.rows("SELECT now() AS at")
    await replica.database.rows(queries.ARCHIVE, {"ids": [key_id], "archived_at": now.at})
    assert await archived(api) == {(str(key_id), "Ethereum")}


async def test_a_wallet_that_is_added_during_the_archival_is_archived(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode, key_id: UUID, engine: Engine
):
    """The archival begins before the other transaction has added the wallet."""
    await api.post(f"/v1/keys/{key_id}/archive", json={})
    with engine.begin() as connection:
        connection.execute(ADD_WALLET, {"key": key_id})
        archival = asyncio.create_task(node.work())
        await blocked(replica)
    assert await archival == 1
    wallets = (await api.get("/v1/wallets", params={"key_id": str(key_id)})).json()["items"]
    assert all(each["archived_at"] is not None for each in wallets)
    assert await archived(api) == both(key_id)


async def test_an_added_wallet_waits_for_the_archival(
    replica: Replica, api: httpx.AsyncClient, key_id: UUID, engine: Engine
):
    with engine.begin() as connection:
        connection.execute(ARCHIVE, {"key": key_id})
        adding = asyncio.create_task(api.post(f"/v1/keys/{key_id}/wallets", json=SEPOLIA))
        await blocked(replica)
    assert (await adding).status_code == 201
    assert await archived(api) == both(key_id)
