"""``mpc-signer rewrap``: another encryption key, also when it is killed on the way."""

import json
from pathlib import Path
from signal import SIGKILL

import pytest
from asyncpg.exceptions import ForeignKeyViolationError

from custody.database.pool import Pool
from mpc.imports.import_keys import ImportKeys
from mpc.shares.encryption_key import FileKey, create_key_file, load_key_file
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.shares import Shares
from tests.integration.signer.commands import command, edit, rewrap_until_killed
from tests.integration.signer.keys import SetOfShares, activate, found, import_key, new_key, put

COUNT = 5
STATEMENTS = 12
"""That a rewrap of so many shares, two at a time, consists of."""


@pytest.fixture
async def made(pool: Pool, shares: Shares) -> list[SetOfShares]:
    """Shares in use, and one whose set is retired, so that there is nothing of it to move."""
    made = [new_key() for _ in range(COUNT)]
    for each in made[:-1]:
        await activate(pool, shares, each)
    await activate(pool, shares, made[-1])
    following = made[-1].refreshed()
    await activate(pool, shares, following)
    return [*made[:-1], following]


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "next.key"


def there(new: Path) -> list[FileKey]:
    return [load_key_file(new)] if new.exists() else []


async def all_open(pool: Pool, made: list[SetOfShares], *keys: FileKey) -> bool:
    shares = Shares(pool, EncryptionKeys([keys[0]], list(keys[1:])))
    for each in made:
        opened = await shares.open(await found(shares, each))
        assert opened.transcript() == each.ours.transcript()
    return True


async def under(pool: Pool) -> set[str]:
    """The encryption keys that shares are under."""
    rows = await pool.rows(
        "SELECT DISTINCT encryption_key FROM shares WHERE encryption_key IS NOT NULL"
    )
    return {row.encryption_key for row in rows}


async def known(pool: Pool) -> set[str]:
    return {row.id for row in await pool.rows("SELECT id FROM encryption_keys")}


async def test_every_share_is_under_the_new_key_and_the_old_one_is_named_as_unused(
    pool, made, config: Path, key: FileKey, new: Path
):
    done = await command(config, "rewrap", "--new-key-file", new, "--json")
    assert done.exit_code == 0, done.stderr
    after = load_key_file(new)
    said = json.loads(done.stdout)
    assert (said["shares"], said["stuck"], said["under"]) == (COUNT, [], after.id)
    assert said["unused"] == [f"{key.id} ({config.parent / 'encryption.key'})"]
    assert await under(pool) == await known(pool) == {after.id}
    assert await all_open(pool, made, after)


async def test_import_keys_are_erased_with_the_key_that_they_are_under(
    pool, made, config: Path, keys: EncryptionKeys, new: Path
):
    import_keys = ImportKeys(pool, keys)
    statement, private_key = import_key()
    await put(pool, await import_keys.row(statement, private_key))
    done = await command(config, "rewrap", "--new-key-file", new, "--json")
    assert done.exit_code == 0, done.stderr
    assert await import_keys.find(statement.import_id) is None
    assert await known(pool) == {load_key_file(new).id}


async def test_the_shares_themselves_stay_as_they_are(pool, made, config: Path, new: Path):
    async def ciphertexts() -> list[bytes]:
        return [
            row.ciphertext
            for row in await pool.rows("SELECT ciphertext FROM shares ORDER BY ceremony")
        ]

    before = await ciphertexts()
    assert (await command(config, "rewrap", "--new-key-file", new)).exit_code == 0
    assert await ciphertexts() == before


@pytest.mark.parametrize("statement", range(1, STATEMENTS + 1))
async def test_killed_at_any_statement_it_loses_nothing_and_can_be_finished(
    pool, made, config: Path, key: FileKey, new: Path, statement: int
):
    assert await rewrap_until_killed(config, new, statement) == -SIGKILL

    assert await under(pool) <= await known(pool)
    assert await all_open(pool, made, key, *there(new))

    done = await command(config, "rewrap", "--new-key-file", new)
    assert done.exit_code == 0, done.stderr
    after = load_key_file(new)
    assert await under(pool) == await known(pool) == {after.id}
    assert await all_open(pool, made, after)


async def test_no_statement_is_left_out_of_the_test_above(made, config: Path, new: Path):
    assert await rewrap_until_killed(config, new, STATEMENTS + 1) == 0


async def test_the_signer_does_not_start_half_way_with_the_old_key_alone(
    pool, made, config: Path, keys: EncryptionKeys, new: Path
):
    assert await rewrap_until_killed(config, new, 6) == -SIGKILL
    assert len(await known(pool)) == 2
    done = await command(config, "shares", "verify")
    assert done.exit_code == 1
    assert "rewrap that was begun" in done.stderr
    edit(config, "# other_key_files = []", f'other_key_files = ["{new.name}"]')
    done = await command(config, "shares", "verify")
    assert done.exit_code == 0, done.stderr


async def test_a_share_that_cannot_be_decrypted_stays_and_keeps_its_key(
    pool, made, config: Path, key: FileKey, new: Path
):
    await pool.rows(
        "UPDATE shares SET data_key = set_byte(data_key, 3, get_byte(data_key, 3) # 1) "
        "WHERE ceremony = :ceremony",
        {"ceremony": made[0].ceremony},
    )
    done = await command(config, "rewrap", "--new-key-file", new, "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["shares"] == COUNT - 1
    assert [each["ceremony"] for each in said["stuck"]] == [str(made[0].ceremony)]
    assert said["unused"] == []
    assert await known(pool) == {key.id, load_key_file(new).id}
    assert await all_open(pool, made[1:], load_key_file(new))


async def test_with_the_wrong_key_configured_no_new_one_is_made(
    pool, made, config: Path, new: Path, tmp_path: Path
):
    create_key_file(tmp_path / "wrong.key")
    edit(config, "encryption.key", "wrong.key")
    done = await command(config, "rewrap", "--new-key-file", new)
    assert done.exit_code == 1
    assert "which is not here" in done.stderr
    assert not there(new)


async def test_once_it_is_done_doing_it_again_changes_nothing(pool, made, config: Path, new: Path):
    assert (await command(config, "rewrap", "--new-key-file", new)).exit_code == 0
    edit(config, "encryption.key", new.name)
    done = await command(config, "rewrap", "--new-key-file", new, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["shares"] == 0
    assert await known(pool) == {load_key_file(new).id}


async def test_a_signer_that_was_not_stopped_cannot_put_a_share_under_the_old_key(
    pool, made, shares: Shares, config: Path, new: Path
):
    """Better no share than one whose encryption key the operator is about to destroy."""
    late = new_key()
    row = await shares.prepare_row(late.confirmation, None, late.ours)
    assert (await command(config, "rewrap", "--new-key-file", new)).exit_code == 0
    with pytest.raises(ForeignKeyViolationError):
        await put(pool, row)
