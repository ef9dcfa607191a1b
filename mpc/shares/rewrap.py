"""Puts every share's data key under another encryption key. The shares stay unchanged.

It may be killed at any moment, and continues where it stopped: each row names its encryption key,
which changes with the data key in one statement.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from custody.database.pool import Pool
from custody.node.errors import Failed
from mpc.shares.encryption_key import EncryptionKey
from mpc.shares.encryption_keys import EncryptionKeys, adopt

PAGE = 100

_COUNT = """
    SELECT count(*) AS number FROM shares
    WHERE encryption_key IS NOT NULL AND encryption_key <> :new
"""

_UNDER_ANOTHER = """
    SELECT key_id, ceremony, data_key, encryption_key FROM shares
    WHERE encryption_key IS NOT NULL AND encryption_key <> :new
        AND (key_id, ceremony) > (:last_key::uuid, :last_ceremony::uuid)
    ORDER BY key_id, ceremony LIMIT :limit
"""

_REWRAP = """
    UPDATE shares SET data_key = now_under.data_key, encryption_key = :new
    FROM unnest(:key_ids::uuid[], :ceremonies::uuid[], :before::bytea[],
        :data_keys::bytea[]) AS now_under (key_id, ceremony, before, data_key)
    WHERE shares.key_id = now_under.key_id AND shares.ceremony = now_under.ceremony
        AND shares.data_key = now_under.before
"""

_ERASE_IMPORT_KEYS = "DELETE FROM import_keys WHERE encryption_key <> :new"
"""An application whose import is under way asks for another import: the keys live for an hour."""

_FORGET = """
    WITH forgotten AS (
        DELETE FROM encryption_keys
        WHERE id <> :new
            AND NOT EXISTS (SELECT FROM shares WHERE encryption_key = encryption_keys.id)
            AND NOT EXISTS (SELECT FROM import_keys WHERE encryption_key = encryption_keys.id)
        RETURNING id, first_seen
    )
    INSERT INTO former_encryption_keys (id, first_seen) SELECT id, first_seen FROM forgotten
    ON CONFLICT (id) DO UPDATE SET unused_since = excluded.unused_since
    RETURNING id
"""

_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Stuck:
    """A share that stays under its key, and why."""

    key_id: str
    ceremony: str
    what: str


@dataclass(frozen=True)
class Rewrapped:
    """``unused``: ids of keys that nothing in the database is under any more."""

    shares: int
    stuck: list[Stuck]
    unused: list[str]


async def count(pool: Pool, new: EncryptionKey) -> int:
    """Return the number of shares under another key."""
    return int((await pool.rows(_COUNT, {"new": new.id}))[0].number)


async def rewrap(
    pool: Pool,
    keys: EncryptionKeys,
    new: EncryptionKey,
    progress: Callable[[int], None],
) -> Rewrapped:
    """``keys``: what shares may be under at present. ``progress`` gets how many are done so far.

    A share that cannot be moved does not keep the others, but it keeps the key that it is under.
    """
    await adopt(pool, new)
    done, stuck = 0, list[Stuck]()
    last = (_BEFORE_ALL, _BEFORE_ALL)
    while page := await pool.rows(
        _UNDER_ANOTHER,
        {"new": new.id, "last_key": last[0], "last_ceremony": last[1], "limit": PAGE},
    ):
        moved, left = await _wrapped_anew(page, keys, new)
        if moved["key_ids"]:
            await pool.rows(_REWRAP, moved)
        done, stuck = done + len(moved["key_ids"]), stuck + left
        last = (str(page[-1].key_id), str(page[-1].ceremony))
        progress(done)
    await pool.rows(_ERASE_IMPORT_KEYS, {"new": new.id})
    unused = await pool.rows(_FORGET, {"new": new.id})
    return Rewrapped(done, stuck, [row.id for row in unused])


async def _wrapped_anew(
    page: list[Any], keys: EncryptionKeys, new: EncryptionKey
) -> tuple[dict[str, Any], list[Stuck]]:
    """For _REWRAP; each was unwrapped again before it gets to replace what there is."""
    rows, stuck = [], []
    for row in page:
        try:
            data_key = await keys.get(row.encryption_key).unwrap(row.data_key)
            wrapped = await new.wrap(data_key)
            if await new.unwrap(wrapped) != data_key:
                raise Failed(
                    "share_unusable", f"{new.name} does not give back what it got", transient=True
                )
        except Failed as error:
            stuck.append(Stuck(str(row.key_id), str(row.ceremony), error.reason))
        else:
            rows.append((row.key_id, row.ceremony, row.data_key, wrapped))
    names = ("key_ids", "ceremonies", "before", "data_keys")
    moved = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return {"new": new.id, **moved}, stuck
