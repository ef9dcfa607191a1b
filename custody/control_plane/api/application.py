"""The public API as one ASGI application, and its OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from pydantic.json_schema import models_json_schema

from custody.control_plane import problems
from custody.control_plane.api import (
    added_wallets,
    archivals,
    audit,
    changes,
    copying,
    health,
    imports,
    keys,
    nodes,
    signatures,
    signer_groups,
    wallets,
)
from custody.control_plane.api.requests import (
    require_each_parameter_once,
    require_known_parameters,
)
from custody.control_plane.api.services import Services
from custody.wire.metadata import UpdateMetadata
from custody.wire.requests import (
    AddWallet,
    ArchiveKey,
    CopyKey,
    CreateImport,
    CreateKey,
    CreateSignerGroup,
    CreateWallet,
    DeriveKey,
    RefreshKey,
    RepairShare,
    SignHash,
    SignMessage,
    SignTransaction,
    UnarchiveKey,
)
from custody.wire.resources import Problem

DESCRIPTION = """\
Wallets, keys and signatures. Private keys are made and used on their owner's machines; this API
asks for them to be used.

- **Authentication**: `Authorization: Bearer TOKEN` on everything under `/v1`.
- **Bytes** are hex with `0x` before them. Public keys are 33 bytes compressed SEC1, or the 32 bytes
  of Ed25519.
- **Long poll**: creating and signing take a moment. `wait=SECONDS` holds the answer back until the
  status is final; without it, or when the time is over, ask again with GET.
- **External ids** make it safe to repeat a POST: `external_id` names the request, unique within the
  application and path. The same body again gets the first result (200 instead of 201), another
  body gets 409. `wait`, `name` and `tags` may differ.
- **Lists** come in pages, newest first: pass `next_cursor` as `cursor` until it is null.
- **Errors** are `application/problem+json` (RFC 9457) with a stable `code`. 503 has `Retry-After`.
- **Later versions** may answer with more fields, and with values of a status, a network or the like
  that are not in this document: ignore those fields, and take no unknown status for final. In a
  request, a field or a query parameter that this document does not have is an error.
"""

TAGS = [
    {"name": "Wallets", "description": "A key with the address that a network gives it."},
    {"name": "Keys", "description": "Keys, of wallets or bare."},
    {"name": "Imports", "description": "Import keys, to which private keys are encrypted."},
    {"name": "Signatures", "description": "What a key has been asked to sign, and the results."},
    {"name": "Nodes", "description": "The drivers that hold the keys."},
    {"name": "Signers", "description": "The nodes that hold keys in shares, and their groups."},
    {"name": "Audit", "description": "What operators did, and the heads of all audit chains."},
    {"name": "Health", "description": "For load balancers; without a token."},
]

_TRACES = TelemetryConfig(
    metrics=False,
    logs=False,  # they would have the text of exceptions
    operation_spans=False,
    auto_configure=False,  # custody.runtime.tracing does it
    exclude=lambda scope: scope.get("method") != "POST",  # only POST asks a node for anything
)

_REQUEST_MODELS = (
    CreateWallet,
    CreateKey,
    CreateImport,
    SignHash,
    SignMessage,
    SignTransaction,
    DeriveKey,
    RefreshKey,
    CopyKey,
    RepairShare,
    ArchiveKey,
    UnarchiveKey,
    CreateSignerGroup,
    UpdateMetadata,
    AddWallet,
)


def create_application(services: Services, version: str) -> FastAPI:
    """Build the public API. It loads nothing from elsewhere, so it has no page of its document."""
    app = FastAPI(
        title="Custody",
        version=version,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(require_each_parameter_once), Depends(require_known_parameters)],
        telemetry=_TRACES,
    )
    problems.install(app)
    for routes in (
        wallets,
        added_wallets,
        keys,
        imports,
        changes,
        archivals,
        copying,
        signatures,
        nodes,
        signer_groups,
        audit,
        health,
    ):
        app.include_router(routes.router(services))
    _complete_openapi(app)
    return app


def _complete_openapi(app: FastAPI) -> None:
    """Add the models of request bodies, which the routes read themselves, to the document.

    Those are closed: the API refuses a field that it does not know. Answers are open.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            opened = {name: _open(schema) for name, schema in schemas.items()}
            schemas.update(opened, **_schemas())
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]


def _schemas() -> Mapping[str, Any]:
    _, document = models_json_schema(
        [(model, "validation") for model in _REQUEST_MODELS],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = document["$defs"]
    return schemas | {"Problem": _open(Problem.model_json_schema())}


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the rule that there are no other fields."""
    return {name: value for name, value in schema.items() if name != "additionalProperties"}
