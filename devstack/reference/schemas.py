"""JSON schemas in words: for settings, and for the bodies of the HTTP API."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

LATER_VALUE = "A value that a later version has added."
"""Description of the schema that stands for unknown values in answers."""
FORMATS = {
    "path": "path",
    "uuid": "UUID",
    "date-time": "time (RFC 3339)",
    "ipv4network": "IPv4 network",
    "ipv6network": "IPv6 network",
}
LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}


def name_of(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]


def type_in_words(schema: Schema, link: Callable[[str], str] = str) -> str:
    """Return the type and limits of a value. ``link`` formats the name of another schema."""
    if "$ref" in schema:
        return link(name_of(schema["$ref"]))
    if options := schema.get("anyOf") or schema.get("oneOf"):
        known = [each for each in options if each.get("description") != LATER_VALUE]
        return " or ".join(dict.fromkeys(type_in_words(each, link) for each in known))
    if "allOf" in schema:
        return type_in_words(schema["allOf"][0], link)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    return ", ".join([_plain_type(schema, link), *_limits(schema)])


def _plain_type(schema: Schema, link: Callable[[str], str]) -> str:
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"list of {type_in_words(schema.get('items', {}), link)}"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), Mapping):
        return f"object of {type_in_words(values, link)}"
    return str(FORMATS.get(schema.get("format", ""), kind))


def _limits(schema: Schema) -> Iterator[str]:
    for name, words in LIMITS.items():
        if name in schema:
            yield words.format(_number(schema[name]))
    if "pattern" in schema:
        yield f"`{schema['pattern']}`"


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 100_000 else f"{value:.0f}"
