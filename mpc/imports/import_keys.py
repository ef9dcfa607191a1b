"""One-time import keys at rest: encrypted as shares are, and erased when they are used or expire.

An import key opens one sub-share of one private key. So its private half is kept until the key that
is imported with it is active, and for no more than an hour.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import ValidationError

from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.node.database_away import database_needed
from custody.node.errors import Failed
from custody.node.handlers import RowChange
from custody.wire.framing import Domain, tagged
from custody.wire.hybrid_keys import HybridPrivateKey
from custody.wire.imports import ImportKeyStatement
from mpc.shares.encryption_keys import EncryptionKeys

DATA_KEY_SIZE = 32
NONCE_SIZE = 12
SWEEP_SECONDS = 60.0

_FIND = """
    SELECT import_id, statement, key_id, data_key, ciphertext, encryption_key FROM import_keys
    WHERE import_id = :import_id
"""

_INSERT = """
    INSERT INTO import_keys (import_id, statement, data_key, ciphertext, encryption_key, expires_at)
    SELECT * FROM unnest(:import_id::uuid[], :statement::bytea[], :data_key::bytea[],
        :ciphertext::bytea[], :encryption_key::varchar[], :expires_at::timestamptz[])
"""

_USE = """
    WITH wanted AS (
        SELECT DISTINCT * FROM unnest(:import_id::uuid[], :key_id::uuid[]) AS _ (import_id, key_id)
    ), used AS (
        UPDATE import_keys SET key_id = wanted.key_id FROM wanted
        WHERE import_keys.import_id = wanted.import_id
            AND (import_keys.key_id IS NULL OR import_keys.key_id = wanted.key_id)
        RETURNING import_keys.import_id, import_keys.key_id
    )
    INSERT INTO import_keys (import_id, key_id)
    SELECT * FROM wanted EXCEPT SELECT * FROM used
"""
"""Inserts a row for each use that is refused. NOT NULL refuses that row, for it has no statement,
and so the transaction with the share of the key: the import key was used for another key, is used
for two keys at once, or is gone."""

_ERASE = """
    DELETE FROM import_keys USING unnest(:key_id::uuid[]) AS used (key_id)
    WHERE import_keys.key_id = used.key_id
"""

_ERASE_EXPIRED = "DELETE FROM import_keys WHERE expires_at <= now() RETURNING import_id"

log = structlog.get_logger()


@dataclass(frozen=True)
class StoredImportKey:
    """A row of import_keys, without its secret. ``payload``: the statement, as it was signed."""

    statement: ImportKeyStatement
    payload: bytes
    key_id: UUID | None
    data_key: bytes
    ciphertext: bytes
    encryption_key: str


class ImportKeys:
    """Finds, opens and changes import keys."""

    def __init__(self, pool: Pool, keys: EncryptionKeys) -> None:
        self._pool = pool
        self._keys = keys

    async def find(self, import_id: UUID) -> StoredImportKey | None:
        """Return an import key; None if there is none, or it has expired. Raise Failed."""
        with database_needed():
            rows = await self._pool.rows(_FIND, {"import_id": import_id})
        stored = _stored(rows[0]) if rows else None
        if stored is None or stored.statement.expires_at <= datetime.now(UTC):
            return None
        return stored

    async def open(self, stored: StoredImportKey) -> HybridPrivateKey:
        """Return the private half. Raise Failed if it cannot be decrypted."""
        data_key = await self._keys.get(stored.encryption_key).unwrap(stored.data_key)
        return await asyncio.to_thread(_opened, stored, data_key)

    async def row(self, statement: ImportKeyStatement, private_key: HybridPrivateKey) -> RowChange:
        """Return the row of a new import key."""
        data_key, nonce = os.urandom(DATA_KEY_SIZE), os.urandom(NONCE_SIZE)
        payload = statement_payload(statement)
        bound = associated_data(statement.import_id, payload)
        key = self._keys.current
        return RowChange(
            _INSERT,
            {
                "import_id": statement.import_id,
                "statement": payload,
                "data_key": await key.wrap(data_key),
                "ciphertext": nonce
                + AESGCM(data_key).encrypt(nonce, private_key.to_bytes(), bound),
                "encryption_key": key.id,
                "expires_at": statement.expires_at,
            },
        )

    def use_row(self, import_id: UUID, key_id: UUID) -> RowChange:
        """Bind an import key to the key that is imported. A second key is refused at the commit."""
        return RowChange(_USE, {"import_id": import_id, "key_id": key_id})

    def erase_row(self, key_id: UUID) -> RowChange:
        """Erase the import key of a key that is active now."""
        return RowChange(_ERASE, {"key_id": key_id})

    async def erase_expired(self) -> int:
        """Erase expired import keys. Return their number."""
        return len(await self._pool.rows(_ERASE_EXPIRED))

    async def erase_expired_repeatedly(self) -> None:
        """Erase expired import keys every minute, until cancelled."""
        while True:
            try:
                if erased := await self.erase_expired():
                    log.info("erased expired import keys", rows=erased)
            except Exception as error:
                if not is_transient(error):
                    raise
            await asyncio.sleep(SWEEP_SECONDS)


def statement_payload(statement: ImportKeyStatement) -> bytes:
    """Return the bytes of a statement that are signed."""
    return statement.model_dump_json().encode()


def facts(statement: ImportKeyStatement) -> Mapping[str, object]:
    """Return the facts of a statement that the request for it determines."""
    return statement.model_dump(exclude={"import_key", "expires_at"})


def _stored(row: Any) -> StoredImportKey:
    try:
        statement = ImportKeyStatement.model_validate_json(row.statement)
    except ValidationError as error:
        raise _unusable(row.import_id, str(error.errors(include_url=False)[0]["msg"])) from None
    if statement.import_id != row.import_id:
        raise _unusable(row.import_id, "the statement is of another import")
    return StoredImportKey(
        statement=statement,
        payload=row.statement,
        key_id=row.key_id,
        data_key=row.data_key,
        ciphertext=row.ciphertext,
        encryption_key=row.encryption_key,
    )


def _opened(stored: StoredImportKey, data_key: bytes) -> HybridPrivateKey:
    import_id = stored.statement.import_id
    nonce, sealed = stored.ciphertext[:NONCE_SIZE], stored.ciphertext[NONCE_SIZE:]
    bound = associated_data(import_id, stored.payload)
    try:
        private_key = HybridPrivateKey(AESGCM(data_key).decrypt(nonce, sealed, bound))
    except (InvalidTag, ValueError):  # ValueError: it is even too short
        raise _unusable(import_id, "its row was changed") from None
    if private_key.public_key != stored.statement.import_key:
        raise _unusable(import_id, "its private and public halves do not belong together")
    return private_key


def associated_data(import_id: UUID, payload: bytes) -> bytes:
    """Return what binds a private half to its row. ``payload``: the statement, as it was signed."""
    return tagged(Domain.IMPORT_KEY, import_id.bytes, payload)


def _unusable(import_id: UUID, what: str) -> Failed:
    return Failed(
        "import_key_unusable",
        f"the stored import key of import {import_id} is damaged: {what}. Ask for another import",
    )
