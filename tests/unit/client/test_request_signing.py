"""What an application asks for, completed and signed with its own key. No network."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from custody.client import Custody, Network, UnexpectedAnswer, Unknown, operations
from custody.client.calls import Call
from custody.client.request_signing import LIFETIME, RequestSigning, load_key
from custody.wire.algorithms import Store
from custody.wire.jobs import Endpoint
from custody.wire.signed_bytes import PinnedKeys, SigningKey
from custody.wire.signed_requests import parse_header, payload_type

PRIVATE_KEY = Ed25519PrivateKey.generate()
SIGNING = RequestSigning(PRIVATE_KEY)
KEY = uuid4()


class KeyInStore:
    """As much of a key as signing looks at."""

    store = Store.MPC


def opened(call: Call[Any], endpoint: Endpoint) -> dict[str, Any]:
    """The body, once its signature is seen to hold."""
    assert call.body is not None
    assert call.signature is not None
    signed = parse_header(call.signature).of(call.body)
    pinned = PinnedKeys([SigningKey(PRIVATE_KEY).public_key])
    body: dict[str, Any] = json.loads(pinned.open(payload_type(endpoint), signed))
    return body


def test_a_signature_is_asked_for_by_key_store_and_time() -> None:
    signing = RequestSigning(PRIVATE_KEY)
    calls = signing.signed(operations.sign_message(KEY, "hello", external_id="payment-1"))
    lookup = next(calls)
    assert (lookup.method, lookup.path, lookup.signature) == ("GET", f"/v1/keys/{KEY}", None)
    body = opened(calls.send(KeyInStore()), Endpoint.SIGNATURES)
    assert (UUID(body["key_id"]), body["store"]) == (KEY, "mpc")
    assert (body["message"], body["external_id"]) == ("hello", "payment-1")
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta() < left <= LIFETIME

    again = next(signing.signed(operations.sign_hash(KEY, bytes(32))))
    assert opened(again, Endpoint.SIGNATURES)["store"] == "mpc"


def test_a_key_in_a_store_that_came_later_cannot_be_asked_of() -> None:
    class KeyInLaterStore:
        store = Unknown("enclave")

    calls = RequestSigning(PRIVATE_KEY).signed(operations.sign_message(KEY, "hello"))
    next(calls)
    with pytest.raises(UnexpectedAnswer, match=f"store of key {KEY}: .*'enclave'"):
        calls.send(KeyInLaterStore())


def test_a_wallet_is_asked_for_at_once() -> None:
    call = next(SIGNING.signed(operations.create_wallet(Network.ETHEREUM)))
    body = opened(call, Endpoint.WALLETS)
    assert body.keys() == {"network", "store", "external_id", "expires_at"}


def test_reading_is_not_signed() -> None:
    call = next(SIGNING.signed(operations.get_wallet(uuid4())))
    assert call.signature is None


def test_what_is_sent_again_is_the_same() -> None:
    calls = SIGNING.signed(operations.create_wallet(Network.ETHEREUM))
    call = next(calls)
    assert call.waiting(5).body == call.body
    assert call.waiting(5).signature == call.signature


def in_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    file = folder / "app.pem"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def pem(key: Any) -> bytes:
    content: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return content


def test_the_key_may_be_in_a_file(tmp_path: Path) -> None:
    file = in_file(tmp_path, pem(PRIVATE_KEY))
    assert load_key(file).public_key() == PRIVATE_KEY.public_key()


@pytest.mark.parametrize("content", [b"", b"nonsense", pem(X25519PrivateKey.generate())])
def test_a_file_with_something_else_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = in_file(tmp_path, content)
    with pytest.raises(ValueError, match="no unencrypted Ed25519 private key"):
        RequestSigning(file)
    with pytest.raises(ValueError, match="cannot read"):
        RequestSigning(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644])
def test_a_file_that_others_may_read_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    file = in_file(tmp_path, pem(PRIVATE_KEY), mode)
    with pytest.raises(ValueError, match=f"may be read by other users: chmod 600 {file}"):
        RequestSigning(file)
    monkeypatch.setenv("CUSTODY_API_URL", "https://localhost:1")
    monkeypatch.setenv("CUSTODY_API_TOKEN", "token")
    monkeypatch.setenv("CUSTODY_SIGNING_KEY_FILE", str(file))
    with pytest.raises(ValueError, match="chmod 600"):
        Custody.from_environment()


def test_a_systemd_credential_is_read_though_its_access_list_shows_as_the_groups_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = in_file(tmp_path, pem(PRIVATE_KEY), 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_key(file).public_key() == PRIVATE_KEY.public_key()
