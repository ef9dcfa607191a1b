"""Names and tags of wallets and keys: given at creation, changed by PATCH."""

from typing import Any

import httpx
import pytest

from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

LABELLED = {"name": "Käse & Brot", "tags": ["customer:42", "cold"]}
CREATED = {
    "wallets": {"network": "Ethereum", "store": "hsm", **LABELLED},
    "keys": {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm", **LABELLED},
}


def metadata_of(resource: dict[str, Any]) -> tuple[str | None, list[str]]:
    return resource["name"], resource["tags"]


@pytest.mark.parametrize("kind", list(CREATED))
async def test_they_are_given_at_creation(api: httpx.AsyncClient, node: MemoryNode, kind: str):
    created = await api.post(f"/v1/{kind}", json=CREATED[kind])
    assert created.status_code == 201, created.text
    expected = (LABELLED["name"], ["cold", "customer:42"])
    assert metadata_of(created.json()) == expected
    await node.work()
    path = created.headers["location"]
    assert metadata_of((await api.get(path)).json()) == expected
    (listed,) = (await api.get(f"/v1/{kind}")).json()["items"]
    assert metadata_of(listed) == expected


async def test_those_of_a_wallet_are_not_its_keys(api: httpx.AsyncClient, node: MemoryNode):
    wallet = (await api.post("/v1/wallets", json=CREATED["wallets"])).json()
    path = f"/v1/keys/{wallet['key_id']}"
    assert metadata_of((await api.get(path)).json()) == (None, [])
    await api.patch(path, json={"name": "the key"})
    assert metadata_of((await api.get(path)).json()) == ("the key", [])
    shown = (await api.get(f"/v1/wallets/{wallet['id']}")).json()
    assert shown["name"] == LABELLED["name"]


@pytest.mark.parametrize("kind", list(CREATED))
async def test_patch_changes_what_it_names(api: httpx.AsyncClient, node: MemoryNode, kind: str):
    created = await api.post(f"/v1/{kind}", json=CREATED[kind])
    path = created.headers["location"]
    name, tags = metadata_of(created.json())
    for change, expected in (
        ({}, (name, tags)),
        ({"name": "B"}, ("B", tags)),
        ({"tags": ["z", "y"]}, ("B", ["y", "z"])),
        ({"name": None}, (None, ["y", "z"])),
        ({"tags": None}, (None, [])),
        ({"tags": ["cold"], "name": "C"}, ("C", ["cold"])),
        ({"tags": []}, ("C", [])),
    ):
        changed = await api.patch(path, json=change)
        assert changed.status_code == 200, changed.text
        assert metadata_of(changed.json()) == expected, change
        assert (await api.get(path)).json() == changed.json()


async def test_the_same_request_again_shows_what_a_patch_changed(
    api: httpx.AsyncClient, node: MemoryNode
):
    body = {**CREATED["wallets"], "external_id": "one"}
    first = await api.post("/v1/wallets", json=body)
    await api.patch(first.headers["location"], json={"name": "renamed", "tags": None})
    for again in (body, {**body, "name": "another", "tags": ["new"]}):
        second = await api.post("/v1/wallets", json=again)
        assert second.status_code == 200
        assert metadata_of(second.json()) == ("renamed", [])


async def test_another_application_changes_nothing(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode
):
    path = (await api.post("/v1/wallets", json=CREATED["wallets"])).headers["location"]
    stranger = replica.client((await replica.token(application="other")).text)
    change = {"name": "mine", "tags": []}
    assert_problem(await stranger.patch(path, json=change), 404, "not_found")
    assert (await api.get(path)).json()["name"] == LABELLED["name"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "a\u202eb"}, "invalid_request"),
        ({"tags": ["a b"]}, "invalid_request"),
        ({"address": "0x00"}, "invalid_request"),
        ([], "invalid_request"),
    ],
)
async def test_a_patch_that_is_refused_changes_nothing(
    api: httpx.AsyncClient, node: MemoryNode, change: object, code: str
):
    path = (await api.post("/v1/wallets", json=CREATED["wallets"])).headers["location"]
    before = (await api.get(path)).json()
    assert_problem(await api.patch(path, json=change), 422, code)
    assert (await api.get(path)).json() == before
