"""Lists: pages, cursors, filters."""

import itertools
import re
from typing import Any
from uuid import UUID

import httpx
import pytest

from custody.control_plane.resources import narrow_lists
from custody.control_plane.resources.metadata import WALLET_METADATA
from custody.control_plane.resources.pages import PageRequest
from custody.wire.jobs import Endpoint
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

HOLDERS = (
    "UPDATE nodes SET owner = 'acme'",
    "INSERT INTO nodes (id, node_group, owner) VALUES ('signer-1', 'mpc', 'zurich')",
    "INSERT INTO signer_groups (name, threshold) VALUES ('treasury', 1)",
    "INSERT INTO signer_group_members (group_name, share_index, signer)"
    " VALUES ('treasury', 1, 'signer-1')",
)


FIELDS = ("owner", "name", "network")


async def all_pages(
    api: httpx.AsyncClient, path: str, **parameters: str | int | list[str]
) -> list[dict]:
    items, cursor = [], None
    while True:
        query = parameters if cursor is None else {**parameters, "cursor": cursor}
        page = (await api.get(path, params=query)).json()
        assert len(page["items"]) <= int(str(parameters.get("limit", 50)))
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


async def test_pages_show_each_wallet_once_newest_first(api: httpx.AsyncClient, node: MemoryNode):
    made = []
    for number in range(7):
        network = ("Ethereum", "Solana")[number % 2]
        body = {"network": network, "store": "hsm", "external_id": f"user-{number}"}
        made.append((await api.post("/v1/wallets", json=body)).json()["id"])
    for limit in (1, 2, 3, 7, 200):
        shown = await all_pages(api, "/v1/wallets", limit=limit)
        assert [wallet["id"] for wallet in shown] == made[::-1]


async def test_a_wallet_made_meanwhile_does_not_move_the_pages(
    api: httpx.AsyncClient, node: MemoryNode
):
    body = {"network": "Ethereum", "store": "hsm"}
    made = [(await api.post("/v1/wallets", json=body)).json()["id"] for _ in range(3)]
    first = (await api.get("/v1/wallets?limit=2")).json()
    await api.post("/v1/wallets", json=body)
    parameters = {"limit": 2, "cursor": first["next_cursor"]}
    second = (await api.get("/v1/wallets", params=parameters)).json()
    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None


async def test_a_copy_is_found_by_its_external_id(
    api: httpx.AsyncClient, key: UUID, replica: Replica
):
    """A key that was made under the same external id is another resource, and is found, too."""
    values = {"id": key, "endpoint": Endpoint.COPIES.value}
    await replica.database.rows(
        "UPDATE jobs SET endpoint = :endpoint, external_id = 'move-7' WHERE id = :id", values
    )
    query = {"external_id": "move-7"}
    (shown,) = (await api.get("/v1/keys", params=query)).json()["items"]
    assert (shown["id"], shown["external_id"]) == (str(key), "move-7")
    assert (await api.get("/v1/wallets", params=query)).json()["items"] == []
    body = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm", "external_id": "move-7"}
    made = (await api.post("/v1/keys", json=body)).json()["id"]
    found = (await api.get("/v1/keys", params=query)).json()["items"]
    assert [each["id"] for each in found] == [made, str(key)]


async def test_filters(api: httpx.AsyncClient, node: MemoryNode):
    for network in ("Ethereum", "Bitcoin", "Solana"):
        body = {"network": network, "store": "hsm", "external_id": network}
        await api.post("/v1/wallets", json=body)
    await node.work()
    pending = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm", "external_id": "bare"}
    await api.post("/v1/keys", json=pending)

    async def count(path: str, **parameters: str) -> int:
        return len((await api.get(path, params=parameters)).json()["items"])

    address = (await api.get("/v1/wallets?network=Bitcoin")).json()["items"][0]["address"]
    assert await count("/v1/wallets") == 3
    assert await count("/v1/wallets", network="Ethereum", store="hsm") == 1
    assert await count("/v1/wallets", status="Active") == 3
    assert await count("/v1/wallets", status="Pending") == 0
    assert await count("/v1/wallets", external_id="Solana") == 1
    assert await count("/v1/wallets", address=address) == 1
    assert await count("/v1/keys") == 4
    assert await count("/v1/keys", curve="secp256k1") == 3
    assert await count("/v1/keys", scheme="EdDSA", network="Solana") == 1
    assert await count("/v1/keys", status="Pending") == 1
    assert await count("/v1/keys", external_id="bare") == 1
    assert await count("/v1/keys", external_id="Solana") == 0


async def test_filters_by_name_and_tags(api: httpx.AsyncClient, node: MemoryNode):
    made: dict[str, list[str]] = {}
    for name, tags in (("A", ["x", "y"]), ("A", ["x"]), ("B", ["y", "z"]), (None, [])):
        labels = {"name": name, "tags": tags}
        wallet = {"network": "Ethereum", "store": "hsm", **labels}
        key = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm", **labels}
        for path, body in (("/v1/wallets", wallet), ("/v1/keys", key)):
            made.setdefault(path, []).append((await api.post(path, json=body)).json()["id"])
    for path, ids in made.items():
        for parameters, expected in (
            ({"name": "A"}, [1, 0]),
            ({"name": "a"}, []),
            ({"tag": "x"}, [1, 0]),
            ({"tag": "y"}, [2, 0]),
            ({"tag": ["x", "y"]}, [0]),
            ({"tag": ["y", "x", "y"]}, [0]),
            ({"tag": ["x", "z"]}, []),
            ({"tag": "X"}, []),
            ({"tag": "y", "name": "B", "status": "Pending"}, [2]),
            ({"tag": "y", "status": "Active"}, []),
        ):
            for limit in (1, 50):
                shown = await all_pages(api, path, limit=limit, **parameters)
                assert [one["id"] for one in shown] == [ids[i] for i in expected], parameters
    await api.patch(f"/v1/wallets/{made['/v1/wallets'][0]}", json={"tags": ["z"]})
    assert len(await all_pages(api, "/v1/wallets", tag="x")) == 1
    assert len(await all_pages(api, "/v1/wallets", tag="z")) == 2


async def test_of_tags_and_owner_the_sparsest_is_read(
    api: httpx.AsyncClient, node: MemoryNode, replica: Replica, monkeypatch: pytest.MonkeyPatch
):
    """Also when each has as many rows as are compared."""
    await replica.database.rows("UPDATE nodes SET owner = 'acme'")
    for tags in (["z-old", "all"], ["z-old", "all"], ["all"], ["all"], []):
        body = {"network": "Ethereum", "store": "hsm", "tags": tags}
        await api.post("/v1/wallets", json=body)
    (application,) = await replica.database.rows("SELECT id FROM applications")
    for compared in (1, 2, 100):
        monkeypatch.setattr(narrow_lists, "COMPARED", compared)
        found = await narrow_lists.narrow(
            replica.database,
            WALLET_METADATA,
            application.id,
            PageRequest(1, None),
            ["all", "z-old"],
            "acme",
            {},
        )
        assert found.also[0].parameters == {"tag_0": "z-old", "tag_1": "all"}
        assert found.any_of is None
        tags = ["all", "z-old"]
        assert len(await all_pages(api, "/v1/wallets", tag=tags, owner="acme", limit=1)) == 2


@pytest.mark.parametrize("compared", [1, 2, 3, 100])
async def test_filters_together_find_the_same_whichever_is_read(
    api: httpx.AsyncClient,
    node: MemoryNode,
    replica: Replica,
    monkeypatch: pytest.MonkeyPatch,
    compared: int,
):
    monkeypatch.setattr(narrow_lists, "COMPARED", compared)
    for statement in HOLDERS:
        await replica.database.rows(statement)
    made: dict[str, dict[str, Any]] = {}
    for number in range(12):
        tags = [tag for tag, every in (("two", 2), ("three", 3)) if number % every == 0]
        network, name = ("Bitcoin", "A") if number < 4 else ("Ethereum", "B")
        labels: dict[str, Any] = {"tags": tags, "name": name, "network": network}
        one = (await api.post("/v1/wallets", json={"store": "hsm", **labels})).json()
        made[one["id"]] = {**labels, "owner": "acme"}
        if number % 4 == 0:
            values = {"id": one["id"]}
            await replica.database.rows(
                "UPDATE wallets SET signer_group = 'treasury' WHERE id = :id", values
            )
            made[one["id"]]["owner"] = "zurich"
    for tags, *wanted in itertools.product(
        ([], ["two"], ["two", "three"], ["none"]),
        (None, "acme", "zurich", "nobody"),
        (None, "A"),
        (None, "Ethereum"),
    ):
        given = {field: value for field, value in zip(FIELDS, wanted, strict=True) if value}
        expected = [
            id_
            for id_, labels in made.items()
            if set(tags) <= set(labels["tags"])
            and all(labels[field] == value for field, value in given.items())
        ]
        for limit in (2, 50):
            shown = await all_pages(api, "/v1/wallets", limit=limit, tag=tags, **given)
            assert [one["id"] for one in shown] == expected[::-1], (tags, given)


async def test_only_a_tag_may_be_repeated(api: httpx.AsyncClient):
    answer = await api.get("/v1/wallets", params={"name": ["A", "B"]})
    assert "once" in assert_problem(answer, 422, "invalid_request")
    many = [f"tag-{number}" for number in range(21)]
    assert_problem(await api.get("/v1/wallets", params={"tag": many}), 422, "invalid_request")


async def test_the_wallets_and_keys_that_an_owners_nodes_hold(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode
):
    """Of store hsm by the node group, and in shares by the signer group of each key."""
    ids = [
        (await api.post("/v1/wallets", json={"network": network, "store": "hsm"})).json()
        for network in ("Ethereum", "Bitcoin", "Solana")
    ]
    for statement in (
        "UPDATE nodes SET owner = 'acme'",
        "INSERT INTO nodes (id, node_group, owner) VALUES ('s-1', 'mpc', 'acme'),"
        " ('s-2', 'mpc', 'zurich'), ('s-3', 'mpc', NULL)",
        "INSERT INTO signer_groups (name, threshold) VALUES ('hsm', 2), ('other', 2)",
        "INSERT INTO signer_group_members (group_name, share_index, signer) VALUES"
        " ('hsm', 1, 's-2'), ('hsm', 2, 's-3'), ('other', 1, 's-1'), ('other', 2, 's-2')",
        "UPDATE keys SET signer_group = 'hsm' WHERE network = 'Bitcoin'",
        "UPDATE wallets SET signer_group = 'hsm' WHERE network = 'Bitcoin'",
        "UPDATE keys SET signer_group = 'other' WHERE network = 'Solana'",
        "UPDATE wallets SET signer_group = 'other' WHERE network = 'Solana'",
    ):
        await replica.database.rows(statement)
    ethereum, bitcoin, solana = ids
    for owner, expected in (
        ("acme", [solana, ethereum]),
        ("zurich", [solana, bitcoin]),
        ("nobody", []),
    ):
        for limit in (1, 50):
            wallets = await all_pages(api, "/v1/wallets", owner=owner, limit=limit)
            assert [one["id"] for one in wallets] == [one["id"] for one in expected]
            keys = await all_pages(api, "/v1/keys", owner=owner, limit=limit)
            assert [one["id"] for one in keys] == [one["key_id"] for one in expected]
        assert len(await all_pages(api, "/v1/wallets", owner=owner, network="Solana")) == (
            solana in expected
        )


async def test_signatures_of_a_key(api: httpx.AsyncClient, node: MemoryNode, key: UUID):
    path = f"/v1/keys/{key}/signatures"
    for number in range(5):
        a_hash = {"kind": "Hash", "hash": f"0x{number:064x}", "external_id": f"n{number}"}
        await api.post(path, json=a_hash)
        if number == 3:
            await node.work()
    shown = await all_pages(api, path, limit=2)
    assert [one["digest"] for one in shown] == [f"0x{number:064x}" for number in (4, 3, 2, 1, 0)]
    assert len(await all_pages(api, path, status="Signed")) == 4
    (one,) = await all_pages(api, path, external_id="n4")
    assert (one["status"], one["kind"], one["message"]) == ("Pending", "Hash", None)


@pytest.mark.parametrize("cursor", ["nonsense", "AAAA", "!", "MjAyNi0wMS0wMSBub25l", "é"])
async def test_a_cursor_that_no_page_gave(api: httpx.AsyncClient, cursor: str):
    answer = await api.get("/v1/wallets", params={"cursor": cursor})
    assert "next_cursor" in assert_problem(answer, 422, "invalid_request")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "many"])
async def test_a_limit_out_of_range(api: httpx.AsyncClient, limit: str):
    answer = await api.get("/v1/keys", params={"limit": limit})
    assert "limit" in assert_problem(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("tags=customer:42", "query.tags: this route has no query parameter of that name"),
        ("Network=Ethereum", "address, archived, cursor, external_id"),
        ("network=Solana&color=", "query.color"),
    ],
)
async def test_a_misspelled_filter_does_not_list_everything(
    api: httpx.AsyncClient, query: str, said: str
):
    answer = await api.get(f"/v1/wallets?{query}")
    assert_problem(answer, 422, "invalid_request")
    assert said in answer.json()["detail"]


async def test_a_parameter_that_a_route_does_not_have_is_refused(
    api: httpx.AsyncClient, replica: Replica
):
    body = {"network": "Solana", "store": "hsm", "external_id": "order-7"}
    answer = await api.post("/v1/wallets?wait=0&external_id=order-7", json=body)
    assert_problem(answer, 422, "invalid_request")
    assert (await api.get("/v1/wallets")).json()["items"] == []
    assert "none" in (await api.get("/v1/signer-groups?limit=1")).json()["detail"]
    assert (await api.get("/healthz?probe=7")).status_code == 200


async def test_every_parameter_of_the_document_is_known(
    api: httpx.AsyncClient, replica: Replica, key: UUID
):
    """Else a parameter of a dependency would be described, and refused."""
    tried = 0
    for path, methods in replica.application.openapi()["paths"].items():
        for method, operation in methods.items():
            told = [each["name"] for each in operation.get("parameters", ()) if _is_query(each)]
            url = re.sub("{[a-z_]+}", str(key), path)
            answer = await api.request(method, url, params=dict.fromkeys(told, "1"))
            assert "no such query parameter" not in answer.text, path
            tried += len(told)
    assert tried > 50


def _is_query(parameter: dict[str, str]) -> bool:
    return parameter["in"] == "query"
