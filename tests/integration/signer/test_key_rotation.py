"""The rotation of a signer's encryption key by its age, with the commands that doctor names."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custody.database.pool import Pool
from custody.runtime.configuration import write_secret
from mpc.shares.encryption_key import FileKey, load_key_file
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.shares import Shares
from tests.integration.signer.commands import command, edit
from tests.integration.signer.keys import activate, found, new_key
from tests.integration.signer.test_doctor import doctor

ROW = "encryption key age"


async def used_for(pool: Pool, days: int) -> None:
    """Have the database know its keys for so many days."""
    await pool.rows(
        "UPDATE encryption_keys SET first_seen = now() - make_interval(days => :days)",
        {"days": days},
    )


def restore_from_a_copy(path: Path) -> None:
    kept = path.read_bytes()
    path.unlink()
    write_secret(path, kept)


async def age_row(config: Path) -> dict[str, str]:
    return (await doctor(config))[ROW]


async def test_before_the_first_run_no_key_has_an_age(config: Path):
    row = await age_row(config)
    assert (row["status"], row["detail"]) == ("ok", "no key is in use before the first run")


async def test_the_commands_that_doctor_names_rotate_the_key_and_reset_its_age(
    pool: Pool, shares: Shares, key: FileKey, config: Path
):
    made = new_key()
    await activate(pool, shares, made)
    await used_for(pool, 364)
    row = await age_row(config)
    assert row["status"] == "ok"
    assert "364 days ago (rotate_after_days = 365)" in row["detail"]

    await used_for(pool, 366)
    row = await age_row(config)
    assert row["status"] == "warn"
    assert f"{key.id} was first used on" in row["detail"]
    named = re.search(r"mpc-signer rewrap --new-key-file (\S+);", row["todo"])
    entry = re.search(r"write \[encryption\] (key_file = \"\S+\");", row["todo"])
    assert named
    assert entry
    assert named[1].endswith(f"/encryption-{datetime.now(UTC):%Y-%m-%d}.key")
    done = await command(config, "rewrap", "--new-key-file", named[1])
    assert done.exit_code == 0, done.stderr
    edit(config, 'key_file = "encryption.key"', entry[1])
    row = await age_row(config)
    assert row["status"] == "ok"
    after = load_key_file(Path(named[1]))
    assert f"{after.id} was first used on" in row["detail"]
    assert ", 0 days ago" in row["detail"]
    opened = await Shares(pool, EncryptionKeys([after], [])).open(await found(shares, made))
    assert opened.transcript() == made.ours.transcript()


async def test_a_key_that_returns_is_as_old_as_at_its_first_use(
    pool: Pool, shares: Shares, key: FileKey, config: Path, tmp_path: Path
):
    """Otherwise a rotation there and back would make an old key young."""
    await activate(pool, shares, new_key())
    await used_for(pool, 400)
    new, old = tmp_path / "next.key", Path(key.name)
    there, back = (f'"{old.name}"', f'"{new.name}"'), (f'"{new.name}"', f'"{old.name}"')
    for target, entry, status in ((new, there, "ok"), (old, back, "warn"), (new, there, "ok")):
        done = await command(config, "rewrap", "--new-key-file", target)
        assert done.exit_code == 0, done.stderr
        edit(config, entry[0], entry[1])
        assert (await age_row(config))["status"] == status


async def test_a_copied_file_and_its_times_change_nothing(pool: Pool, keys, config: Path):
    await used_for(pool, 400)
    restore_from_a_copy(config.parent / "encryption.key")
    assert (await age_row(config))["status"] == "warn"


async def test_while_shares_are_under_two_keys_the_older_one_counts(
    pool: Pool, shares: Shares, config: Path, tmp_path: Path
):
    """A share that could not be moved is still under the old key."""
    damaged = new_key()
    await activate(pool, shares, damaged)
    await pool.rows("UPDATE shares SET data_key = '\\x00'")
    await used_for(pool, 400)
    done = await command(config, "rewrap", "--new-key-file", tmp_path / "next.key")
    assert done.exit_code == 1
    assert (await age_row(config))["status"] == "warn"


@pytest.mark.parametrize(("days", "status"), [(0, "ok"), (401, "ok"), (399, "warn")])
async def test_the_configuration_says_when(pool: Pool, keys, config: Path, days: int, status: str):
    await used_for(pool, 400)
    edit(config, "rotate_after_days = 365", f"rotate_after_days = {days}")
    assert (await age_row(config))["status"] == status
