"""Imports by the client, against a control plane that lies."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from custody.client.errors import Failed, NotAttested, NotFinal
from custody.client.import_operations import import_key, import_wallet
from custody.client.importing.private_key import PrivateKey
from custody.client.pinned_nodes import AttestedKeys, checked_without_pins
from custody.wire.algorithms import ECDSA_SECP256K1, Network
from custody.wire.answers import read_answer
from custody.wire.attestations import PinnedNodes
from custody.wire.imports import ImportKeyStatement
from custody.wire.jobs import Endpoint
from custody.wire.requests import CreateKey
from custody.wire.resources import (
    ChangeStatus,
    Import,
    ImportStatus,
    Key,
    KeyStatus,
    SignatureStatus,
)
from custody.wire.signed_bytes import IMPORT_KEY_TYPE, SigningKey
from tests.unit.wire.example_keys import seeded
from tests.unit.wire.protocol_examples import IMPORT_STATEMENT, NODE, NODE_SIGNER

LIAR = seeded("example: the control plane's own key")
MINE = PrivateKey(ECDSA_SECP256K1, b"\7" * 32)
PINS = PinnedNodes({NODE: NODE_SIGNER.public_key}, {}, {"hsm": [NODE]}, {})
RSA = (
    "30820122300d06092a864886f70d01010105000382010f003082010a0282010100" + "c1" * 256 + "0203010001"
)
"""A SubjectPublicKeyInfo whose private half nobody has."""


def shown_import(by: SigningKey, **changes: object) -> Import:
    import_id, now = uuid4(), datetime.now(UTC)
    fields = IMPORT_STATEMENT.model_dump() | {
        "import_id": import_id,
        "application": None,
        "import_key": bytes.fromhex(RSA),
        "expires_at": now + timedelta(hours=1),
    }
    statement = ImportKeyStatement.model_validate(fields | changes)
    return Import(
        id=import_id, status="Ready", store="hsm", signer_group=None, scheme="ECDSA",
        curve="secp256k1", statements=(by.sign(IMPORT_KEY_TYPE, _json(statement)),), key_id=None,
        external_id=None, reason=None, created_at=now, expires_at=now,
    )  # fmt: skip


def _json(statement: ImportKeyStatement) -> bytes:
    return statement.model_dump_json().encode()


def next_body(answer: Any, wait: float = 0) -> CreateKey:
    """Let the client ask for an import, answer, and return the body that it then sends."""
    calls = AttestedKeys(PINS).checked(import_key(MINE, wait=wait))
    first = next(calls)
    assert (first.path, first.needs_pinned_nodes) == ("/v1/imports", True)
    second = calls.send(answer)
    assert second.wish is not None
    assert second.wish.endpoint is Endpoint.KEYS
    return CreateKey.model_validate_json(second.body or b"")


@pytest.mark.parametrize(
    "operation",
    [
        import_key(MINE, name="A name", tags={"cold"}, wait=0),
        import_wallet(MINE, Network.ETHEREUM, name="A name", tags={"cold"}, wait=0),
    ],
)
def test_an_imported_key_or_wallet_gets_a_name_and_tags(operation):
    calls = AttestedKeys(PINS).checked(operation)
    next(calls)
    sent = json.loads(calls.send(shown_import(NODE_SIGNER)).body or b"")
    assert (sent["name"], sent["tags"]) == ("A name", ["cold"])


@pytest.mark.parametrize("bad", [{"name": " A"}, {"tags": ["two words"]}, {"tags": "cold"}])
@pytest.mark.parametrize(
    "operation", [import_key, partial(import_wallet, network=Network.ETHEREUM)]
)
def test_a_bad_argument_uses_up_no_import(operation, bad):
    with pytest.raises(ValueError, match=r"name|tag"):
        next(operation(MINE, **bad))


def test_a_key_is_sealed_to_the_pinned_node():
    answer = shown_import(NODE_SIGNER)
    imported = next_body(answer).imported
    assert imported is not None
    assert (imported.import_id, imported.public_key) == (answer.id, MINE.public_key)
    assert MINE.secret not in (imported.wrapped or b"")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (shown_import(LIAR), "not pinned"),
        (shown_import(NODE_SIGNER, import_id=uuid4()), "another import"),
        (shown_import(NODE_SIGNER, application=LIAR.public_key), "another application"),
        (shown_import(NODE_SIGNER, protection="host"), "protection host"),
    ],
)
def test_nothing_is_sealed_to_an_import_key_of_the_control_plane(answer, why):
    with pytest.raises(NotAttested, match=why):
        next_body(answer)


def with_status(answer: Import, status: str) -> Import:
    """Return the answer as the client reads it when the service names this status."""
    shown = {**json.loads(answer.model_dump_json()), "status": status}
    return read_answer(Import, json.dumps(shown).encode())


OTHER_STATUSES = sorted(
    {
        *(each.value for kind in (KeyStatus, SignatureStatus, ChangeStatus) for each in kind),
        *(each.value for each in ImportStatus if each is not ImportStatus.READY),
        "Later",
    }
)


@pytest.mark.parametrize("status", OTHER_STATUSES)
@pytest.mark.parametrize("wait", [0, -1, 1e-9])
def test_nothing_is_sealed_to_an_import_that_is_shown_with_another_status(status, wait):
    """The client asks again, or raises. It never sends a key, to whomever the import keys are."""
    with pytest.raises(NotAttested, match="not pinned"):
        next_body(with_status(shown_import(LIAR), status), wait)
    calls = AttestedKeys(PINS).checked(import_key(MINE, wait=wait))
    next(calls)
    try:
        following = calls.send(with_status(shown_import(NODE_SIGNER), status))
    except (Failed, NotFinal):
        return
    assert (following.method, following.body) == ("GET", None)


@pytest.mark.parametrize("status", [each.value for each in ImportStatus])
def test_nothing_is_sealed_to_an_import_without_statements(status):
    empty = shown_import(NODE_SIGNER).model_copy(update={"statements": ()})
    calls = AttestedKeys(PINS).checked(import_key(MINE, wait=1e-9))
    next(calls)
    with pytest.raises((NotAttested, Failed, NotFinal)):
        calls.send(with_status(empty, status))


def test_nothing_is_asked_without_pins():
    with pytest.raises(ValueError, match="pin the nodes first"):
        next(checked_without_pins(import_key(MINE)))


@pytest.mark.parametrize("is_imported", [True, False])
def test_a_key_is_not_what_was_asked_for_if_imported_differs(is_imported):
    """A control plane could import a key that it knows, where one was to be generated."""
    from custody.client.operations import create_key

    operation = import_key(MINE, wait=0) if is_imported else create_key(*ECDSA_SECP256K1, wait=0)
    calls = AttestedKeys(PINS).checked(operation)
    next(calls)
    if is_imported:
        calls.send(shown_import(NODE_SIGNER))
    now = datetime.now(UTC)
    key = Key(
        id=uuid4(), status="Pending", store="hsm", scheme="ECDSA", curve="secp256k1", network=None,
        public_key=None, protection=None, signer_group=None, threshold=None, signers=None,
        generation=None, root=None, path=None, chain_code=None, attestations=(), external_id=None,
        name=None, tags=[], reason=None, created_at=now, imported=not is_imported,
    )  # fmt: skip
    with pytest.raises(NotAttested, match="another kind of key"):
        calls.send(key)
