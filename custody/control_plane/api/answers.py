"""Answers, and how the OpenAPI document describes them."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from custody.control_plane.problems import MEDIA_TYPE, STATUS_AND_TITLE, TYPE_PREFIX, Code

EVERYWHERE = (
    Code.UNAUTHENTICATED,
    Code.MISSING_SCOPE,
    Code.INVALID_REQUEST,
    Code.TOO_MANY_WAITS,
    Code.INTERNAL_ERROR,
    Code.UNAVAILABLE,
)
WITH_PLAIN_BODY = (Code.MALFORMED_JSON, Code.TOO_LARGE)
"""Of a body without an external id."""
WITH_BODY = (*WITH_PLAIN_BODY, Code.EXTERNAL_ID_CONFLICT)


def answer(model: BaseModel, status: int = 200, location: str | None = None) -> Response:
    """Return a model as JSON, serialised once."""
    headers = None if location is None else {"Location": location}
    return Response(model.model_dump_json(), status, headers=headers, media_type="application/json")


def problems(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """Return the problems of a route for the OpenAPI document, by status, each with its meaning."""
    by_status: dict[int | str, list[Code]] = {}
    for code in (*EVERYWHERE, *codes):
        by_status.setdefault(STATUS_AND_TITLE[code][0], []).append(code)
    return {status: _described(by_status[status]) for status in sorted(by_status, key=str)}


def _described(codes: list[Code]) -> dict[str, Any]:
    examples = {code.value: {"value": _example(code)} for code in codes}
    return {
        "description": "; ".join(f"`{code}`: {STATUS_AND_TITLE[code][1]}" for code in codes),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": examples,
            }
        },
    }


def _example(code: Code) -> dict[str, Any]:
    status, title = STATUS_AND_TITLE[code]
    return {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "code": code.value,
        "detail": "What was wrong, and what to do about it.",
    }


def body(schema: str | Mapping[str, Any], **examples: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request body for the OpenAPI document; routes read it themselves, byte for byte."""
    described = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema
    named = {name.replace("_", " "): {"value": value} for name, value in examples.items()}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": described, "examples": named}},
        }
    }


UPDATE_METADATA_BODY = body(
    "UpdateMetadata",
    name={"name": "Treasury"},
    tags={"tags": ["customer:42", "cold"]},
    remove_both={"name": None, "tags": None},
)
"""The body of PATCH in the OpenAPI document, the same for wallets and keys."""
