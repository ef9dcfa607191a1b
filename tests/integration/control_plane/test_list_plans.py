"""Each list reads about as many rows as it shows, whatever the number of stored rows."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from benchmarks.stored_rows import copy_signatures, copy_wallets
from custody.control_plane.resources import narrow_lists
from custody.control_plane.resources.pages import Position
from custody.database.engine import synchronous_engine
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode

STORED = 20_000
LIMIT = 50
MAX_READ = 60 * LIMIT
"""Rows that the nodes of a page's plans handle, all together.

A plan that reads a table handles STORED rows in a node, or more.
"""

Filters = Mapping[str, str | list[str]]

WALLETS: tuple[Filters, ...] = (
    {},
    {"network": "Ethereum"},
    {"network": "Solana"},
    {"network": "Bitcoin"},
    {"network": "BitcoinSignet"},
    {"store": "mpc"},
    {"status": "Active"},
    {"status": "Pending"},
    {"status": "Failed"},
    {"external_id": "the-first"},
    {"archived": "true"},
    {"archived": "false"},
    {"archived": "true", "network": "Bitcoin"},
    {"archived": "true", "network": "Ethereum"},
    {"archived": "true", "network": "Solana"},
    {"archived": "true", "store": "hsm"},
    {"archived": "true", "store": "mpc"},
    {"archived": "true", "status": "Active"},
    {"archived": "true", "status": "Pending"},
    {"archived": "true", "status": "Failed"},
    {"archived": "true", "network": "Bitcoin", "store": "mpc", "status": "Active"},
    {"tag": "all", "archived": "true"},
    {"tag": "all", "store": "mpc"},
    {"tag": "rare", "archived": "true"},
    {"owner": "acme", "archived": "true"},
    {"address": "0x0000000000000000000000000000000000000000"},
    {"name": "Treasury"},
    {"name": "none"},
    {"tag": "all"},
    {"tag": "oldest"},
    {"tag": "rare"},
    {"tag": "none"},
    {"tag": ["all", "oldest"]},
    {"tag": ["all", "rare"]},
    {"tag": "oldest", "status": "Active"},
    {"tag": "all", "network": "Solana"},
    {"owner": "acme"},
    {"owner": "zurich"},
    {"owner": "nobody"},
    {"tag": "all", "owner": "acme"},
    {"tag": "all", "owner": "zurich"},
    {"tag": "all", "owner": "berlin"},
    {"tag": "oldest", "owner": "acme"},
    {"tag": "oldest", "owner": "zurich"},
    {"tag": "rare", "owner": "acme"},
    {"tag": "none", "owner": "acme"},
    {"tag": "all", "name": "Treasury"},
    {"tag": "all", "network": "Bitcoin"},
    {"tag": ["all", "oldest"], "owner": "acme", "name": "Treasury", "network": "Bitcoin"},
    {"owner": "acme", "name": "Treasury"},
    {"owner": "berlin", "network": "Bitcoin"},
)
KEYS: tuple[Filters, ...] = (
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
    {"name": "Treasury"},
    {"tag": "all"},
    {"tag": "oldest"},
    {"tag": ["all", "rare"]},
    {"owner": "acme"},
    {"owner": "zurich"},
    {"archived": "true"},
    {"archived": "false"},
    {"tag": "all", "owner": "acme"},
    {"tag": "all", "owner": "zurich"},
    {"tag": "oldest", "owner": "acme"},
    {"tag": "all", "name": "Treasury"},
    {"tag": "all", "network": "Bitcoin"},
    {"tag": "all", "archived": "true"},
    {"owner": "acme", "name": "Treasury"},
    {"owner": "acme", "archived": "true"},
)
SIGNATURES: tuple[Filters, ...] = (
    {},
    {"status": "Signed"},
    {"status": "Pending"},
    {"status": "Executing"},
    {"status": "Failed"},
    {"status": "Rejected"},
    {"external_id": "the-first"},
)


MIDDLE = """
    SELECT created_at, id FROM wallets ORDER BY created_at, id
    OFFSET CAST(:stored AS int) / 20 LIMIT 1
"""
"""A place with half of the oldest wallets after it, and most other wallets before it."""
NAMED_TAGGED_AND_HELD = """
    UPDATE nodes SET owner = 'acme';
    INSERT INTO nodes (id, node_group, owner)
        VALUES ('signer-1', 'mpc', 'zurich'), ('signer-2', 'mpc', 'acme'),
            ('signer-3', 'mpc', 'berlin');
    INSERT INTO signer_groups (name, threshold) VALUES ('treasury', 2), ('pair', 2);
    INSERT INTO signer_group_members (group_name, share_index, signer)
        VALUES ('treasury', 1, 'signer-1'), ('treasury', 2, 'signer-2'), ('pair', 1, 'signer-1');
    CREATE TEMPORARY TABLE ages AS SELECT id, key_id, created_at, application_id,
        row_number() OVER (ORDER BY created_at) AS age, ARRAY['all']
            || CASE WHEN row_number() OVER (ORDER BY created_at) <= 2000 THEN '{oldest}' ELSE '{}'
                END::varchar[]
            || CASE WHEN row_number() OVER (ORDER BY created_at) % 5000 = 0 THEN '{rare}' ELSE '{}'
                END::varchar[] AS tags FROM wallets;
    UPDATE wallets SET signer_group = 'treasury', name = 'Treasury', network = 'Bitcoin',
        store = 'mpc' FROM ages WHERE ages.id = wallets.id AND age <= 2000;
    UPDATE keys SET signer_group = 'treasury', name = 'Treasury', network = 'Bitcoin',
        store = 'mpc', archived_at = now() FROM ages WHERE ages.key_id = keys.id AND age <= 2000;
    INSERT INTO wallet_tags (wallet_id, tag, application_id, created_at)
        SELECT id, unnest(tags), application_id, created_at FROM ages;
    INSERT INTO key_tags (key_id, tag, application_id, created_at)
        SELECT key_id, unnest(tags), application_id, created_at FROM ages;
"""
"""Tags, names and holders of the stored rows; what some rows have, the oldest have."""


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
        connection.execute(text(NAMED_TAGGED_AND_HELD))
        connection.execute(text("ANALYZE"))
        connection.commit()
    engine.dispose()
    return UUID(wallet["key_id"])


async def test_no_list_reads_a_table(
    replica: Replica, api: httpx.AsyncClient, busy_key: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replica.database.listed
    read = Counter[str]()
    current = ""

    async def explained(sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        (row,) = await plain(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
        (plan,) = json.loads(row[0])
        read[current] += handled(plan["Plan"])
        return await plain(sql, parameters)

    monkeypatch.setattr(replica.database, "listed", explained)
    monkeypatch.setattr(narrow_lists, "COMPARED", LIMIT)
    row = await replica.database.row(MIDDLE, {"stored": STORED})
    assert row is not None
    in_the_middle = str(Position(row.created_at, row.id))
    of_key = f"/v1/keys/{busy_key}"
    for path, all_filters in (
        ("/v1/wallets", WALLETS),
        ("/v1/keys", KEYS),
        (f"{of_key}/signatures", SIGNATURES),
        (f"{of_key}/refreshes", ({},)),
        (f"{of_key}/repairs", ({},)),
        (f"{of_key}/archivals", ({},)),
    ):
        for filters in all_filters:
            for page, place in (("first", {}), ("later", {"cursor": in_the_middle})):
                current = f"{path} {filters} {page} page"
                answer = await api.get(path, params={"limit": LIMIT, **filters, **place})
                assert answer.status_code == 200, answer.text
                assert current in read or "nobody" in current
    assert {name: rows for name, rows in read.items() if rows > MAX_READ} == {}


async def test_each_page_is_planned_for_its_values(
    replica: Replica, api: httpx.AsyncClient
) -> None:
    """PostgreSQL keeps no plan for all tags, which would read all rows with a frequent tag."""
    for _ in range(8):
        answer = await api.get("/v1/wallets", params={"tag": ["all", "rare"], "status": "Failed"})
        assert answer.status_code == 200
    plans = await replica.database.listed(
        "SELECT custom_plans, generic_plans FROM pg_prepared_statements"
        " WHERE statement LIKE '%wallet_tags%' AND statement NOT LIKE '%pg_prepared%'"
    )
    assert [tuple(row) for row in plans] == [(8, 0), (8, 0)]


def handled(plan: dict[str, Any]) -> int:
    """Return the rows that a node of a plan, and the nodes below it, read or threw away."""
    thrown_away = sum(value for name, value in plan.items() if name.startswith("Rows Removed"))
    own = plan["Actual Loops"] * (plan["Actual Rows"] + thrown_away)
    return int(own) + sum(handled(below) for below in plan.get("Plans", ()))
