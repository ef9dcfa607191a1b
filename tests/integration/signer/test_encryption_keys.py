"""Which encryption key a signer starts with, and which it does not."""

import base64
import os
from pathlib import Path

import pytest
from asyncpg.exceptions import ForeignKeyViolationError

from custody.database.pool import Pool
from custody.runtime.errors import ConfigurationError, OperatorError
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import FileKey, create_key_file, load_key_file
from mpc.shares.encryption_keys import EncryptionKeys, open_encryption_keys
from tests.integration.signer.keys import confirm, new_key


async def known(pool: Pool) -> set[str]:
    return {row.id for row in await pool.rows("SELECT id FROM encryption_keys")}


async def test_the_first_start_has_the_database_know_its_key(pool, key: FileKey):
    keys = EncryptionKeys([key], [])
    await keys.adopt_first(pool)
    assert await known(pool) == {key.id}
    await keys.adopt_first(pool)
    assert keys.current is key


async def test_another_key_is_refused_and_not_adopted(pool, keys, key, tmp_path: Path):
    another = EncryptionKeys([create_key_file(tmp_path / "another.key")], [])
    with pytest.raises(OperatorError, match=key.id):
        await another.adopt_first(pool)
    assert await known(pool) == {key.id}


async def test_another_key_is_refused_though_the_right_one_is_there_as_well(
    pool, keys, key, tmp_path: Path
):
    """Otherwise new shares would still be under the key that the operator has replaced."""
    another = EncryptionKeys([create_key_file(tmp_path / "another.key")], [key])
    with pytest.raises(OperatorError, match="mpc-signer rewrap"):
        await another.adopt_first(pool)


async def test_a_key_of_the_right_name_and_another_check_value_is_refused(pool, keys, key: FileKey):
    await pool.rows("UPDATE encryption_keys SET check_value = sha256(check_value)")
    with pytest.raises(OperatorError, match="check value differs"):
        await keys.compare(pool)


async def test_a_key_that_shares_are_under_must_be_there(pool, keys, shares, tmp_path: Path):
    await confirm(pool, shares, new_key())
    path = tmp_path / "another.key"
    await pool.rows(
        "INSERT INTO encryption_keys (id, check_value) VALUES (:id, :check_value)",
        {"id": create_key_file(path).id, "check_value": load_key_file(path).check_value},
    )
    with pytest.raises(OperatorError, match="rewrap that was begun"):
        await keys.compare(pool)
    keys.add(load_key_file(path))
    await keys.compare(pool)


async def test_no_row_can_be_under_a_key_that_the_database_does_not_know(
    pool, shares, keys, tmp_path: Path
):
    await confirm(pool, shares, new_key())
    with pytest.raises(ForeignKeyViolationError):
        await pool.rows("UPDATE shares SET encryption_key = 'another'")
    with pytest.raises(ForeignKeyViolationError):
        await pool.rows("DELETE FROM encryption_keys")


async def test_the_configuration_names_the_keys(pool, settings: SignerSettings, key: FileKey):
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        assert keys.current.check_value == key.check_value
        assert keys.problem() is None


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path):
    path = tmp_path / "encryption.key"
    create_key_file(path)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="may be read by other users"):
        load_key_file(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00" * 32,
        base64.b64encode(bytes(31)),
        base64.b64encode(bytes(33)),
        b"*" + base64.b64encode(bytes(32)),
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: bytes):
    path = tmp_path / "encryption.key"
    path.touch(mode=0o600)
    path.write_bytes(text)
    with pytest.raises(ConfigurationError) as error:
        load_key_file(path)
    assert text.decode() not in str(error.value) or not text


def test_a_key_file_is_its_owners_alone_and_never_overwritten(tmp_path: Path):
    path = tmp_path / "encryption.key"
    old = os.umask(0)
    try:
        made = create_key_file(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert load_key_file(path).id == made.id
