"""Archiving a key by the API: what it stops, from when on, and how it ends."""

import asyncio
from typing import Any
from uuid import UUID

import httpx

from custody.wire.outcomes import OutcomeStatus
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

MESSAGE = {"kind": "Message", "message": "Hello", "hash_function": "Keccak-256"}
Body = dict[str, Any]


async def change(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID | str, verb: str, **body: str
) -> Body:
    """Archive or un-archive a key, and have the node do it."""
    created = await api.post(f"/v1/keys/{key}/{verb}", json=body)
    assert created.status_code == 201, created.text
    await node.work()
    done: Body = (await api.get(created.headers["location"])).json()
    return done


async def test_an_archived_key_signs_again_only_once_it_is_unarchived(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    archived = await change(api, node, key, "archive")
    assert (archived["kind"], archived["status"], archived["signer"]) == ("Archive", "Done", None)
    assert (await api.get(f"/v1/keys/{key}")).json()["archived_at"] is not None
    refused = await api.post(f"/v1/keys/{key}/signatures", json=MESSAGE)
    assert_problem(refused, 409, "key_archived")
    named = refused.json()["detail"].split()  # the step that shows which key to un-archive
    listed = (await api.get(next(each for each in named if "?archived" in each))).json()["items"]
    assert [each["id"] for each in listed] == [str(key)]
    assert await node.work() == 0

    unarchived = await change(api, node, key, "unarchive")
    assert (unarchived["kind"], unarchived["status"]) == ("Unarchive", "Done")
    assert (await api.get(f"/v1/keys/{key}")).json()["archived_at"] is None
    assert (await api.post(f"/v1/keys/{key}/signatures", json=MESSAGE)).status_code == 201
    for name, kept in (("archivals", archived), ("unarchivals", unarchived)):
        assert (await api.get(f"/v1/keys/{key}/{name}")).json()["items"] == [kept]


async def test_a_key_signs_nothing_from_the_moment_on_in_which_it_is_to_be_archived(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID, other_replica: Replica, replica: Replica
):
    """Also at a replica that has the key in its memory."""
    elsewhere = other_replica.client((await replica.token()).text)
    path = f"/v1/keys/{key}/signatures"
    assert (await elsewhere.post(path, json=MESSAGE)).status_code == 201
    await node.work()
    open_request = (await api.post(f"/v1/keys/{key}/archive", json={})).json()
    assert open_request["status"] == "Pending"
    assert_problem(await elsewhere.post(path, json=MESSAGE), 409, "key_archived")
    assert (await api.get(f"/v1/keys/{key}")).json()["archived_at"] is None

    (job,) = await node.claim()
    await node.report([(job, node.failed(job, OutcomeStatus.DENIED, transient=False))])
    assert (await elsewhere.post(path, json=MESSAGE)).status_code == 201


async def test_the_result_of_an_earlier_request_is_shown_for_an_archived_key(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    path = f"/v1/keys/{key}/signatures"
    named = {**MESSAGE, "external_id": "payment-1"}
    await api.post(path, json=named)
    await node.work()
    await change(api, node, key, "archive")
    again = await api.post(path, json=named)
    assert (again.status_code, again.json()["status"]) == (200, "Signed")


async def test_archiving_may_be_repeated(api: httpx.AsyncClient, node: MemoryNode, key: UUID):
    first = await change(api, node, key, "archive", external_id="archive-1")
    since = (await api.get(f"/v1/keys/{key}")).json()["archived_at"]
    again = await api.post(f"/v1/keys/{key}/archive", json={"external_id": "archive-1"})
    assert (again.status_code, again.json()) == (200, first)
    assert (await change(api, node, key, "archive"))["status"] == "Done"
    assert (await api.get(f"/v1/keys/{key}")).json()["archived_at"] == since


async def test_one_archival_at_a_time(api: httpx.AsyncClient, node: MemoryNode, key: UUID):
    both = await asyncio.gather(
        api.post(f"/v1/keys/{key}/archive", json={}),
        api.post(f"/v1/keys/{key}/unarchive", json={}),
    )
    (refused,) = [each for each in both if each.status_code != 201]
    assert_problem(refused, 409, "change_under_way")
    await node.work()
    assert (await change(api, node, key, "archive"))["status"] == "Done"


async def test_lists_show_archived_keys_unless_they_are_asked_for_one_kind(
    api: httpx.AsyncClient, node: MemoryNode
):
    wallets = [
        (await api.post("/v1/wallets", json={"network": "Ethereum", "store": "hsm"})).json()
        for _ in range(3)
    ]
    await node.work()
    retired = wallets[1]
    await change(api, node, retired["key_id"], "archive")
    for path, of_wallet in (("/v1/wallets", "id"), ("/v1/keys", "key_id")):
        for query, wanted in (
            ({}, wallets),
            ({"archived": "true"}, [retired]),
            ({"archived": "false"}, [each for each in wallets if each is not retired]),
        ):
            items = (await api.get(path, params=query)).json()["items"]
            assert {each["id"] for each in items} == {each[of_wallet] for each in wanted}
            archived = {each["id"] for each in items if each["archived_at"] is not None}
            assert archived == ({retired[of_wallet]} if retired in wanted else set())


async def test_a_key_that_is_not_active_is_not_archived(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    pending = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
    other = (await api.post("/v1/keys", json=pending)).json()
    refused = await api.post(f"/v1/keys/{other['id']}/archive", json={})
    assert_problem(refused, 409, "key_not_active")
    wrong = await api.post(f"/v1/keys/{key}/archive", json={"key_id": other["id"]})
    assert_problem(wrong, 422, "request_mismatch")
