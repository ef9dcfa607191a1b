"""The encoding of bytes and times in JSON."""

import base64
import binascii
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema


class Model(BaseModel):
    """Base of all wire models: immutable, and an unknown field is an error.

    A docstring under a field is its description in the OpenAPI document.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def hex_to_bytes(value: object) -> bytes:
    """Decode 0x-prefixed hex, the API's only form of bytes."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("must be bytes as 0x-prefixed hex")
    try:
        return binascii.unhexlify(value[2:])
    except ValueError:
        raise ValueError("must be bytes as 0x-prefixed hex, two digits a byte") from None


def base64_to_bytes(value: object) -> bytes:
    """Decode base64, the form of bytes in signed payloads. Raise ValueError."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("must be base64")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("must be base64") from None


def to_base64(value: bytes) -> str:
    """Return base64, the form of bytes in signed payloads."""
    return base64.b64encode(value).decode()


HexBytes = Annotated[
    bytes,
    BeforeValidator(hex_to_bytes),
    PlainSerializer(lambda value: "0x" + value.hex(), return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$"}),
]
"""Bytes as 0x-hex: the public API."""

Base64Bytes = Annotated[
    bytes,
    BeforeValidator(base64_to_bytes),
    PlainSerializer(to_base64, return_type=str),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""Bytes as base64: the node API, where they are signed bytes carried whole."""
