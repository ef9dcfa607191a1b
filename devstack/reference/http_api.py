"""The reference of the public HTTP API, from its OpenAPI document."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custody.control_plane.serve import openapi_document
from devstack.reference.markdown import page, table
from devstack.reference.schemas import Schema, type_in_words

BODIES = "reference/http-api-bodies.md"
FORMS = """\
A field without *required* may be left out of a request. A body that has another field is an error.
Answers always have every field. A later version may add fields and values to answers."""


def http_api_pages() -> dict[str, str]:
    """Return each page's text by its path under docs/."""
    document = openapi_document()
    schemas = document["components"]["schemas"]
    parts = [
        "The control plane serves this description at `/openapi.json`, without authentication. "
        "`control-plane openapi` prints it.",
        document["info"]["description"],
    ]
    for tag in document["tags"]:
        parts += [f"## {tag['name']}", tag.get("description", "")]
        parts += _operations(document, tag["name"])
    bodies = [FORMS]
    for name, schema in schemas.items():
        bodies += _schema(name, schema)
    return {
        "reference/http-api.md": page("HTTP API", *parts),
        BODIES: page("Bodies of the HTTP API", *bodies),
    }


def _operations(document: Schema, tag: str) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield f"### `{method.upper()} {path}`"
                yield f"**{operation['summary']}.** {operation['description']}"
                yield from _parameters(operation)
                if "requestBody" in operation:
                    yield f"Body: {_body(operation['requestBody'])}."
                yield table(("status", "meaning", "body"), _responses(operation))


def _parameters(operation: Schema) -> Iterator[str]:
    rows = [
        (
            f"`{each['name']}`",
            each["in"] + (", required" if each["required"] else ""),
            type_in_words(each["schema"], _link_to_schema),
            each.get("description", ""),
        )
        for each in operation.get("parameters", ())
    ]
    if rows:
        yield table(("parameter", "in", "type", "meaning"), rows)


def _responses(operation: Schema) -> Iterator[tuple[str, str, str]]:
    for status, response in operation["responses"].items():
        meaning = response["description"].replace("Successful Response", "Success.")
        yield status, meaning, _body(response)


def _body(holder: Schema) -> str:
    contents = holder.get("content", {}).values()
    return ", ".join(type_in_words(each["schema"], _link_to_schema) for each in contents)


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield f"## {name}"
    yield schema.get("description", "")
    if "properties" not in schema:
        yield f"{type_in_words(schema, _link_to_schema)}."
        return
    yield table(("field", "type", "", "meaning"), _fields(schema))


def _fields(schema: Schema) -> Iterator[tuple[str, str, str, str]]:
    required: Any = schema.get("required", ())
    for name, field in schema["properties"].items():
        is_required = "*required*" if name in required else _default(field)
        yield (
            f"`{name}`",
            type_in_words(field, _link_to_schema),
            is_required,
            field.get("description", ""),
        )


def _link_to_schema(name: str) -> str:
    return f"[{name}]({Path(BODIES).name}#{name.lower()})"


def _default(field: Schema) -> str:
    default = field.get("default")
    return "" if default is None else f"default `{default}`"
