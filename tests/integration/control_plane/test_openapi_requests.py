"""Requests made from the OpenAPI document, sent to a real control plane.

schemathesis makes requests that the document allows and requests that the document forbids. Every
answer must be one that the document describes, and never an error of the server.
"""

import asyncio
import contextlib
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.result import Err

from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode

EXAMPLES = 10
"""Requests of each kind for each operation."""
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_every_answer_is_described(
    replica: Replica, node: MemoryNode, key: UUID, mode: GenerationMode
) -> None:
    token = (await replica.token()).text
    document = replica.application.openapi()

    sent = await asyncio.to_thread(send_all, document, replica.url, token, key, mode)

    could_be_sent = {
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if mode is GenerationMode.POSITIVE or CAN_BE_WRONG & operation.keys()
    }
    assert could_be_sent <= sent


CAN_BE_WRONG = {"parameters", "requestBody"}


def send_all(
    document: dict[str, Any], url: str, token: str, key: UUID, mode: GenerationMode
) -> set[tuple[str, str]]:
    """Send requests to the operations of the document. Return the method and path of each one.

    Allowed requests are about a key that exists, and do not wait.
    """
    schema = schemathesis.openapi.from_dict(document)
    checks = [CHECKS.get_one(name) for name in CHECKED]
    headers = {"Authorization": f"Bearer {token}"}
    sent: set[tuple[str, str]] = set()
    for found in schema.get_all_operations():
        assert not isinstance(found, Err), found.err()
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            if mode is GenerationMode.POSITIVE:
                if "key_id" in (case.path_parameters or {}):
                    case.path_parameters["key_id"] = str(key)
                if "wait" in (case.query or {}):
                    case.query["wait"] = 0
            case.call_and_validate(base_url=url, headers=headers, checks=checks)

        with contextlib.suppress(Unsatisfiable):  # an operation without anything to get wrong
            send()
            sent.add((operation.method, operation.path))
    return sent
