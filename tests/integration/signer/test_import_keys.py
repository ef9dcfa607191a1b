"""One-time import keys at rest: bound to their row, used for one key, erased at their end."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from asyncpg.exceptions import NotNullViolationError

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.wire.hybrid_keys import PRIVATE_KEY_BYTES, HybridPublicKey
from mpc.imports.import_keys import ImportKeys
from mpc.shares.encryption_keys import EncryptionKeys
from tests.integration.signer.keys import import_key, put


@pytest.fixture
def import_keys(pool: Pool, keys: EncryptionKeys) -> ImportKeys:
    return ImportKeys(pool, keys)


async def test_it_opens_what_was_sealed_to_its_statement(pool: Pool, import_keys: ImportKeys):
    statement, private_key = import_key()
    await put(pool, await import_keys.row(statement, private_key))
    stored = await import_keys.find(statement.import_id)
    assert stored is not None
    assert (stored.statement, stored.key_id) == (statement, None)
    sealed = HybridPublicKey(statement.import_key).seal(b"sub-share", b"info")
    assert (await import_keys.open(stored)).open(sealed, b"info") == b"sub-share"


async def test_the_private_half_is_in_no_column(pool: Pool, import_keys: ImportKeys):
    statement, private_key = import_key()
    await put(pool, await import_keys.row(statement, private_key))
    [row] = await pool.rows("SELECT CAST(import_keys AS text) AS text FROM import_keys")
    secret = private_key.to_bytes()
    assert len(secret) == PRIVATE_KEY_BYTES
    assert statement.import_id.hex in row.text.replace("-", "")
    for part in (secret[:32], secret[32:64], secret[64:]):
        assert part.hex() not in row.text


@pytest.mark.parametrize("column", ["statement", "ciphertext", "data_key"])
async def test_a_row_with_a_part_of_another_does_not_open(
    pool: Pool, import_keys: ImportKeys, column: str
):
    (statement, private_key), (another, other_key) = import_key(), import_key()
    await put(pool, await import_keys.row(statement, private_key))
    await put(pool, await import_keys.row(another, other_key))
    await pool.rows(
        f"UPDATE import_keys SET {column} = other.{column} FROM import_keys AS other"
        " WHERE import_keys.import_id = :id AND other.import_id = :other",
        {"id": statement.import_id, "other": another.import_id},
    )

    async def find_and_open() -> None:
        stored = await import_keys.find(statement.import_id)
        assert stored is not None
        await import_keys.open(stored)

    with pytest.raises(Failed, match="import key of import"):
        await find_and_open()


async def test_an_import_key_is_used_for_one_key_only(pool: Pool, import_keys: ImportKeys):
    statement, private_key = import_key()
    key_id = uuid4()
    await put(pool, await import_keys.row(statement, private_key))
    for _ in range(2):  # another attempt at the same key
        await put(pool, import_keys.use_row(statement.import_id, key_id))
    with pytest.raises(NotNullViolationError):
        await put(pool, import_keys.use_row(statement.import_id, uuid4()))
    stored = await import_keys.find(statement.import_id)
    assert stored is not None
    assert stored.key_id == key_id


async def test_an_import_key_is_not_used_for_two_keys_at_once(pool: Pool, import_keys: ImportKeys):
    """The journal changes the rows of all jobs that end together with one statement."""
    statement, private_key = import_key()
    await put(pool, await import_keys.row(statement, private_key))
    uses = [import_keys.use_row(statement.import_id, uuid4()) for _ in range(2)]
    both = {name: [use.values[name] for use in uses] for name in uses[0].values}
    with pytest.raises(NotNullViolationError):
        await pool.rows(uses[0].sql, both)
    stored = await import_keys.find(statement.import_id)
    assert stored is not None
    assert stored.key_id is None
    # two attempts at one key may end together
    await pool.rows(uses[0].sql, {name: [value] * 2 for name, value in uses[0].values.items()})


async def test_an_import_key_that_was_erased_meanwhile_is_not_used(
    pool: Pool, import_keys: ImportKeys
):
    """A second ceremony with it may be under way while the first key becomes active."""
    statement, private_key = import_key()
    first = uuid4()
    use = import_keys.use_row(statement.import_id, first)
    await put(pool, await import_keys.row(statement, private_key), use)
    await put(pool, import_keys.erase_row(first))
    with pytest.raises(NotNullViolationError):
        await put(pool, import_keys.use_row(statement.import_id, uuid4()))
    assert await pool.rows("SELECT FROM import_keys") == []


async def test_it_is_erased_with_the_activation_of_its_key(pool: Pool, import_keys: ImportKeys):
    (used, used_key), (another, other_key) = import_key(), import_key()
    key_id = uuid4()
    await put(
        pool, await import_keys.row(used, used_key), import_keys.use_row(used.import_id, key_id)
    )
    await put(pool, await import_keys.row(another, other_key))
    await put(pool, import_keys.erase_row(key_id))
    assert await import_keys.find(used.import_id) is None
    assert await import_keys.find(another.import_id) is not None


async def test_it_cannot_be_used_after_its_time_and_is_then_erased(
    pool: Pool, import_keys: ImportKeys
):
    now = datetime.now(UTC)
    (late, late_key), (live, live_key) = (
        import_key(expires_at=now - timedelta(seconds=1)),
        import_key(expires_at=now + timedelta(minutes=1)),
    )
    await put(pool, await import_keys.row(late, late_key))
    await put(pool, await import_keys.row(live, live_key))
    assert await import_keys.find(late.import_id) is None
    assert await import_keys.erase_expired() == 1
    assert [row.import_id for row in await pool.rows("SELECT import_id FROM import_keys")] == [
        live.import_id
    ]
