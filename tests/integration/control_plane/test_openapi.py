"""Other people's scripts know the API only by its OpenAPI document."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from custody.control_plane.serve import openapi_document
from tests.integration.control_plane.conftest import Replica

NOBODY_THERE = {"no_capable_node", "unknown_signer", "unknown_signer_group", "not_found"}
"""What a request that is understood comes to, where there is nothing yet."""
DOCUMENT = openapi_document()
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


async def test_it_is_served_to_everybody_and_is_what_the_command_prints(replica: Replica):
    answer = await replica.client(None).get("/openapi.json")
    served = answer.json()
    served["info"]["version"] = DOCUMENT["info"]["version"]
    assert served == DOCUMENT


def test_every_reference_leads_somewhere():
    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        part: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_operation_is_described(path: str, method: str, operation: dict):
    assert operation["summary"]
    assert operation["description"]
    assert operation["operationId"]
    assert operation["tags"]
    if not path.startswith("/v1/"):
        return
    assert operation["security"] == [{"token": []}]
    assert {"401", "403", "422", "500", "503"} <= operation["responses"].keys()
    for status, response in operation["responses"].items():
        kind = "application/json" if status < "300" else "application/problem+json"
        assert list(response["content"]) == [kind]
    if method == "post":
        media = operation["requestBody"]["content"]["application/json"]
        assert media["schema"]
        assert media["examples"]


def test_a_signature_is_asked_for_in_three_ways():
    schema = DOCUMENT["paths"]["/v1/keys/{key_id}/signatures"]["post"]["requestBody"]["content"]
    schema = schema["application/json"]["schema"]
    assert schema["discriminator"]["mapping"] == {
        "Hash": "#/components/schemas/SignHash",
        "Message": "#/components/schemas/SignMessage",
        "Transaction": "#/components/schemas/SignTransaction",
    }


def test_every_field_of_an_answer_is_there_to_rely_on():
    for name in ("Wallet", "Key", "Signature", "Node", "Problem"):
        schema = DOCUMENT["components"]["schemas"][name]
        assert set(schema["required"]) == set(schema["properties"])


def test_requests_are_closed_and_answers_may_have_more_in_later_versions():
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("CreateWallet", "CreateKey", "SignHash", "SignMessage", "CreateSignerGroup"):
        assert schemas[name]["additionalProperties"] is False
    for name in ("Wallet", "Key", "Signature", "SignedBytes", "NodeHealth", "Reason", "Problem"):
        assert "additionalProperties" not in schemas[name]
    status = schemas["Wallet"]["properties"]["status"]
    assert [each.get("type", each.get("$ref")) for each in status["anyOf"]] == [
        "#/components/schemas/KeyStatus",
        "string",
    ]


async def test_the_examples_of_requests_are_understood(replica: Replica):
    api: httpx.AsyncClient = replica.client((await replica.token()).text)
    for path, method, operation in OPERATIONS:
        if method != "post" or "{" in path:
            continue
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        for example in examples.values():
            answer = await api.post(path, json=example["value"])
            assert answer.json()["code"] in NOBODY_THERE
