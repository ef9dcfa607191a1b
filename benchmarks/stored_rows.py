"""Many stored keys and finished jobs, copied from one real key inside the database.

A copy has an id of its own; all other columns are those of the real row. So copies of a key are
listed, found and claimed around, and copies of a wrapped key can sign.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

CHUNK = 100_000
"""Rows in one transaction."""

_AGE = "created_at - make_interval(secs => number * 0.001)"
_KEYS = {"id": "gen_random_uuid()", "created_at": _AGE}
_WALLETS = {"id": "gen_random_uuid()", "key_id": "copies.id", "address": "NULL"}
_TAGS = """
    INSERT INTO wallet_tags (wallet_id, tag, application_id, created_at)
    SELECT wallets.id, tag, wallets.application_id, wallets.created_at
    FROM copies JOIN wallets ON wallets.key_id = copies.id, wallet_tags
    WHERE wallet_tags.wallet_id = (SELECT id FROM wallets WHERE key_id = :key)
"""
_THEIR_JOBS = {"id": "copies.id", "key_id": "copies.id", "external_id": "NULL"}
_SIGNATURES = {"id": "gen_random_uuid()", "created_at": _AGE, "external_id": "NULL"}


def copy_wallets(connection: Connection, key_id: UUID, count: int) -> None:
    """Copy the key of a wallet, its job and its wallet with its tags, ``count`` times."""
    for first in range(1, count + 1, CHUNK):
        span = {"key": key_id, "first": first, "last": min(first + CHUNK - 1, count)}
        connection.execute(text("DROP TABLE IF EXISTS copies"))
        connection.execute(text("CREATE TEMPORARY TABLE copies (id uuid, created_at timestamptz)"))
        added = _copies(connection, "keys", _KEYS, "id = :key")
        connection.execute(
            text(
                f"WITH added AS ({added} RETURNING id, created_at) "
                "INSERT INTO copies SELECT id, created_at FROM added"
            ),
            span,
        )
        for table, columns, condition in (
            ("jobs", _THEIR_JOBS, "jobs.id = :key"),
            ("wallets", _WALLETS, "wallets.key_id = :key"),
        ):
            with_time = {**columns, "created_at": "copies.created_at"}
            connection.execute(
                text(_copies(connection, table, with_time, condition, "copies")), {"key": key_id}
            )
        connection.execute(text(_TAGS), {"key": key_id})
        connection.commit()


def copy_signatures(connection: Connection, signature_id: UUID, count: int) -> None:
    """Copy a finished request to sign, ``count`` times, for the same key."""
    for first in range(1, count + 1, CHUNK):
        span = {"key": signature_id, "first": first, "last": min(first + CHUNK - 1, count)}
        connection.execute(text(_copies(connection, "jobs", _SIGNATURES, "id = :key")), span)
        connection.commit()


def copy_wrapped_keys(connection: Connection, key_id: UUID, count: int) -> None:
    """Copy a driver's wrapped key, ``count`` times, under new ids."""
    for first in range(1, count + 1, CHUNK):
        span = {"key": key_id, "first": first, "last": min(first + CHUNK - 1, count)}
        columns = {"key_id": "gen_random_uuid()"}
        copies = _copies(connection, "wrapped_keys", columns, "key_id = :key")
        connection.execute(text(copies), span)
        connection.commit()


def _copies(
    connection: Connection,
    table: str,
    changed: Mapping[str, str],
    condition: str,
    source: str = "generate_series(CAST(:first AS int), CAST(:last AS int)) AS number",
) -> str:
    """Return the statement that copies a row for each row of ``source``, with changed columns."""
    names: list[Any] = list(
        connection.execute(
            text(
                "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:table AS regclass) "
                "AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
            ),
            {"table": table},
        ).scalars()
    )
    values = ", ".join(changed.get(name, f"{table}.{name}") for name in names)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} "
        f"FROM {table}, {source} WHERE {condition}"
    )
