"""Signs what an application asks for, so that nobody between it and the node can change that."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from custody.client.calls import Call, Calls, content, get, with_each
from custody.client.errors import UnexpectedAnswer
from custody.wire.algorithms import Store
from custody.wire.answers import known
from custody.wire.requests import KeyRequest, Request
from custody.wire.resources import Key
from custody.wire.secret_files import CREDENTIALS, others_may_read
from custody.wire.signed_bytes import SigningKey
from custody.wire.signed_requests import sign_request

Answer = TypeVar("Answer")
SigningKeySource: TypeAlias = Ed25519PrivateKey | Path | str
"""A key, or the file that has it in PEM (PKCS#8, not encrypted), readable by its user alone."""

LIFETIME = timedelta(minutes=15)
"""As long as the service itself keeps trying, by default."""
MAX_REMEMBERED = 100_000
"""Keys whose store is remembered."""


class RequestSigning:
    """Completes and signs the calls of operations. Raises ValueError for a key that is none."""

    def __init__(self, key: SigningKeySource) -> None:
        self._signer = SigningKey(
            key if isinstance(key, Ed25519PrivateKey) else load_key(Path(key))
        )
        self.public_key = self._signer.public_key
        self._stores: dict[UUID, Store] = {}

    def signed(self, calls: Calls[Answer]) -> Calls[Answer]:
        """Return the same operation, with each POST signed once, however often it is sent."""
        return with_each(calls, self._signed)

    def _signed(self, call: Call[Any]) -> Calls[Call[Any]]:
        wish = call.wish
        if wish is None:
            return call
        bound: dict[str, Any] = {}
        if wish.request.expires_at is None:
            bound["expires_at"] = datetime.now(UTC) + LIFETIME
        if wish.key_id is not None and isinstance(wish.request, KeyRequest):
            bound["key_id"] = wish.key_id
            bound["store"] = yield from self._store_of(wish.key_id)
        request: Request = wish.request.model_copy(update=bound)
        body = content(request)
        return replace(call, body=body, signature=sign_request(self._signer, wish.endpoint, body))

    def _store_of(self, key_id: UUID) -> Calls[Store]:
        """Asked once for each key. A false answer makes a request that a node denies."""
        if key_id not in self._stores:
            key = yield from get(f"/v1/keys/{key_id}", Key)
            if len(self._stores) >= MAX_REMEMBERED:
                self._stores.clear()
            try:
                self._stores[key_id] = known(key.store)
            except ValueError as error:
                raise UnexpectedAnswer(f"the store of key {key_id}: {error}") from None
        return self._stores[key_id]


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read the key. Raise ValueError for a file that is unreadable, open to others or no key."""
    try:
        mode = path.stat().st_mode
        pem = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the signing key {path}: {error.strerror}") from None
    if others_may_read(path, mode, os.environ.get(CREDENTIALS)):
        raise ValueError(
            f"{path}, which holds the signing key, may be read by other users: chmod 600 {path}"
        )
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} contains no unencrypted Ed25519 private key in PEM")
    return key
