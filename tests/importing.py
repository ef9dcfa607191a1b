"""What an application does to import a private key: raw requests, and the client's sealing."""

from typing import Any
from uuid import uuid4

import httpx

from custody.client.importing.private_key import PrivateKey
from custody.client.importing.sealed_key import seal_key
from custody.wire.imports import ImportedKey, ImportKeyStatement
from custody.wire.resources import Import, ImportStatus

SECONDS = 60


def import_keys(api: httpx.Client, key: PrivateKey, group: str) -> list[ImportKeyStatement]:
    """The statements of all signers of a group about an import of their own."""
    wanted = {
        "external_id": str(uuid4()),
        "store": "mpc",
        "signer_group": group,
        "scheme": key.algorithm.scheme.value,
        "curve": key.algorithm.curve.value,
    }
    answer = api.post("/v1/imports", json=wanted, params={"wait": SECONDS})
    assert answer.status_code == 201, answer.text
    found = Import.model_validate_json(answer.content)
    assert found.status is ImportStatus.READY, answer.text
    return [ImportKeyStatement.model_validate_json(each.payload) for each in found.statements]


def sealed(api: httpx.Client, key: PrivateKey, group: str) -> ImportedKey:
    """The key, split and sealed to the signers."""
    return seal_key(key, import_keys(api, key, group))


def import_wallet(
    api: httpx.Client, imported: ImportedKey, group: str, wait: int = SECONDS, **wanted: Any
) -> dict[str, Any]:
    return _created(api, "/v1/wallets", imported, group, wait, wanted)


def import_bare_key(
    api: httpx.Client, key: PrivateKey, imported: ImportedKey, group: str, wait: int = SECONDS
) -> dict[str, Any]:
    algorithm = {"scheme": key.algorithm.scheme.value, "curve": key.algorithm.curve.value}
    return _created(api, "/v1/keys", imported, group, wait, algorithm)


def _created(
    api: httpx.Client,
    path: str,
    imported: ImportedKey,
    group: str,
    wait: int,
    wanted: dict[str, Any],
) -> dict[str, Any]:
    body = {
        "external_id": str(uuid4()),
        "store": "mpc",
        "signer_group": group,
        "imported": imported.model_dump(mode="json", exclude_none=True),
        **wanted,
    }
    answer = api.post(path, json=body, params={"wait": wait})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created
