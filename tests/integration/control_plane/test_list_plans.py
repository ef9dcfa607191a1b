"""Each list reads about as many rows as it shows, whatever the number of stored rows."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from benchmarks.stored_rows import copy_signatures, copy_wallets
from custody.database.engine import synchronous_engine
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode

STORED = 20_000
LIMIT = 50
MAX_READ = 20 * LIMIT
"""Rows that the nodes of a plan handle, all together. A plan that reads a table has STORED."""

WALLETS: tuple[dict[str, str], ...] = (
    {},
    {"network": "Ethereum"},
    {"network": "Solana"},
    {"network": "Bitcoin"},
    {"store": "mpc"},
    {"status": "Active"},
    {"status": "Pending"},
    {"status": "Failed"},
    {"external_id": "the-first"},
    {"address": "0x0000000000000000000000000000000000000000"},
)
KEYS: tuple[dict[str, str], ...] = (
    {},
    {"network": "Solana"},
    {"store": "mpc"},
    {"scheme": "ECDSA"},
    {"scheme": "EdDSA"},
    {"curve": "ed25519"},
    {"scheme": "ECDSA", "curve": "secp256r1"},
    {"status": "Pending"},
    {"status": "Failed"},
    {"external_id": "the-first"},
)
SIGNATURES: tuple[dict[str, str], ...] = (
    {},
    {"status": "Signed"},
    {"status": "Pending"},
    {"status": "Executing"},
    {"status": "Failed"},
    {"status": "Rejected"},
    {"external_id": "the-first"},
)


@pytest.fixture
async def busy_key(api: httpx.AsyncClient, node: MemoryNode, control_plane_database: str) -> UUID:
    """The key of one of many wallets, with many signatures, all in the database."""
    wallet = (await api.post("/v1/wallets", json={"network": "Ethereum", "store": "hsm"})).json()
    await node.work()
    path = f"/v1/keys/{wallet['key_id']}/signatures"
    body = {"kind": "Message", "message": "one of many", "external_id": "the-first"}
    signature = (await api.post(path, json=body)).json()
    await node.work()
    engine = synchronous_engine(control_plane_database)
    with engine.connect() as connection:
        copy_wallets(connection, UUID(wallet["key_id"]), STORED)
        copy_signatures(connection, UUID(signature["id"]), STORED)
        connection.execute(text("ANALYZE"))
        connection.commit()
    engine.dispose()
    return UUID(wallet["key_id"])


async def test_no_list_reads_a_table(
    replica: Replica, api: httpx.AsyncClient, busy_key: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replica.database.rows
    read: dict[str, int] = {}
    current = ""

    async def explained(sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        if "ORDER BY" in sql:
            (row,) = await plain(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
            (plan,) = json.loads(row[0])
            read[current] = handled(plan["Plan"])
        return await plain(sql, parameters)

    monkeypatch.setattr(replica.database, "rows", explained)
    of_key = f"/v1/keys/{busy_key}"
    for path, all_filters in (
        ("/v1/wallets", WALLETS),
        ("/v1/keys", KEYS),
        (f"{of_key}/signatures", SIGNATURES),
        (f"{of_key}/refreshes", ({},)),
        (f"{of_key}/repairs", ({},)),
    ):
        for filters in all_filters:
            current = f"{path} {filters}"
            answer = await api.get(path, params={"limit": LIMIT, **filters})
            assert answer.status_code == 200, answer.text
            assert current in read
    assert {name: rows for name, rows in read.items() if rows > MAX_READ} == {}


def handled(plan: dict[str, Any]) -> int:
    """Return the rows that a node of a plan, and the nodes below it, read or threw away."""
    thrown_away = sum(value for name, value in plan.items() if name.startswith("Rows Removed"))
    own = plan["Actual Loops"] * (plan["Actual Rows"] + thrown_away)
    return int(own) + sum(handled(below) for below in plan.get("Plans", ()))
