"""The same external id never makes a second request, also when several ask at once."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from custody.client import Network
from custody.runtime.tls import client_context
from tests.acceptance.conftest import raw_client

RACERS = 24


async def race(stack, path: str, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    """Post all bodies at once, over both replicas in turn."""
    async with httpx.AsyncClient(
        headers={"authorization": f"Bearer {stack.api_token}"},
        verify=client_context(stack.ca),
        trust_env=False,
        timeout=60,
    ) as client:
        urls = [replica.url for replica in stack.control_planes]
        return await asyncio.gather(
            *(
                client.post(urls[index % len(urls)] + path, json=body)
                for index, body in enumerate(bodies)
            )
        )


def fresh_id() -> str:
    return f"order-{uuid4()}"


def body_for(path: str) -> dict[str, Any]:
    if path == "/v1/wallets":
        return {"network": "Bitcoin", "store": "hsm"}
    if path == "/v1/keys":
        return {"scheme": "ECDSA", "curve": "secp256r1", "store": "hsm"}
    return {"kind": "Message", "message": "pay"}


@pytest.fixture(params=["/v1/wallets", "/v1/keys", "/v1/keys/{key}/signatures"])
def path(request, keys) -> str:
    return str(request.param).format(key=keys["Ethereum"].id)


async def test_of_many_at_once_one_makes_the_request_and_all_get_it(stack, path):
    body = {**body_for(path), "external_id": fresh_id()}
    answers = await race(stack, path + "?wait=30", [body] * RACERS)
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * (RACERS - 1) + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert {answer.json()["status"] for answer in answers} <= {"Active", "Signed"}
    assert len({answer.content for answer in answers}) == 1


async def test_of_many_different_bodies_at_once_one_wins_and_the_others_conflict(stack, keys):
    path = f"/v1/keys/{keys['Ethereum'].id}/signatures"
    external_id = fresh_id()
    bodies = [
        {"kind": "Message", "message": f"pay {number % 4}", "external_id": external_id}
        for number in range(RACERS)
    ]
    answers = await race(stack, path + "?wait=30", bodies)
    won = [answer.json() for answer in answers if answer.is_success]
    assert len({answer["id"] for answer in won}) == 1
    assert len({answer["message"] for answer in won}) == 1
    assert len(won) == RACERS / 4
    lost = [answer for answer in answers if not answer.is_success]
    assert {answer.status_code for answer in lost} == {409}
    assert {answer.json()["code"] for answer in lost} == {"external_id_conflict"}


def test_the_first_result_comes_back_also_when_the_body_is_written_differently(api, keys):
    path = f"/v1/keys/{keys['Solana'].id}/signatures?wait=30"
    external_id = fresh_id()
    first = api.post(
        path,
        content=json.dumps({"kind": "Message", "message": "hi", "external_id": external_id}),
        headers={"content-type": "application/json"},
    )
    again = api.post(
        path,
        content=json.dumps(
            {"external_id": external_id, "message": "\u0068i", "kind": "Message"}, indent=4
        ),
        headers={"content-type": "application/json"},
    )
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.content == first.content


def test_another_key_is_another_request(api, keys):
    body = {"kind": "Message", "message": "hi", "external_id": fresh_id()}
    assert api.post(f"/v1/keys/{keys['Ethereum'].id}/signatures", json=body).status_code == 201
    answer = api.post(f"/v1/keys/{keys['Bitcoin'].id}/signatures", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "external_id_conflict")


def test_an_external_id_is_of_one_endpoint_and_one_application(stack, api, keys):
    external_id = fresh_id()
    posts = [
        ("/v1/wallets", {**body_for("/v1/wallets"), "external_id": external_id}),
        ("/v1/keys", {**body_for("/v1/keys"), "external_id": external_id}),
        (
            f"/v1/keys/{keys['Ethereum'].id}/signatures",
            {**body_for("signatures"), "external_id": external_id},
        ),
    ]
    ids = {api.post(path, json=body).raise_for_status().json()["id"] for path, body in posts}
    token = stack.control_planes[0].create_token("another-application")
    with raw_client(stack, token) as other:
        answer = other.post(*posts[0][:1], json=posts[0][1])
        assert answer.status_code == 201
        ids.add(answer.json()["id"])
    assert len(ids) == 4


def test_the_clients_second_try_is_the_first_request(custody):
    external_id = fresh_id()
    first = custody.create_wallet(Network.ETHEREUM, external_id=external_id)
    assert custody.create_wallet(Network.ETHEREUM, external_id=external_id) == first
    assert first.external_id == external_id
