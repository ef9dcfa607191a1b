"""Commands over rows that somebody has changed by hand: shown or named, and never a traceback."""

import json
from pathlib import Path

import pytest

from custody.database.pool import Pool
from custody.runtime.signing_key import create_signing_key
from mpc.shares.shares import Shares
from tests.integration.signer.commands import command
from tests.integration.signer.keys import activate, new_key

LISTS = [
    ["shares", "list", "--all"],
    ["bans", "list"],
    ["peers", "list"],
    ["apps", "list"],
    ["repair", "list"],
]
MARKUP = "[/bold]\x1b[2J"


@pytest.fixture
async def damaged(config: Path, pool: Pool, shares: Shares) -> Path:
    create_signing_key(config.parent / "identity.pem")
    await activate(pool, shares, new_key())
    await pool.rows(
        "UPDATE shares SET protocol = 'rot13', group_name = :markup, network = 'Dogecoin'",
        {"markup": MARKUP},
    )
    await pool.rows(
        "INSERT INTO shares (key_id, ceremony, state, threshold, signers)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'abandoned', 2, NULL)"
    )
    await pool.rows(
        "INSERT INTO bans (key_id, signer, banned, reason, payload, signature, signing_key_id)"
        " VALUES (gen_random_uuid(), 'signer-1', :markup, :markup, '{', '', '')",
        {"markup": MARKUP},
    )
    for table, name in (("peers", "signer"), ("applications", "name")):
        column = "identity_public_key" if table == "peers" else "public_key"
        await pool.rows(
            f"INSERT INTO {table} ({name}, {column}) VALUES (:markup, 'short')",
            {"markup": MARKUP},
        )
    await pool.rows(
        "INSERT INTO repair_approvals (key_id, signer, operator, reason, expires_at)"
        " VALUES (gen_random_uuid(), :markup, :markup, '', now() + interval '1 h')",
        {"markup": MARKUP},
    )
    return config


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
async def test_what_is_damaged_is_listed_as_it_is(damaged: Path, words: list[str]):
    done = await command(damaged, *words)
    assert done.exit_code == 0, done.output
    assert "[/bold]\\x1b[2J" in done.stdout
    json.loads((await command(damaged, *words, "--json")).stdout)


async def test_a_share_whose_row_is_damaged_is_named(damaged: Path, pool: Pool):
    done = await command(damaged, "shares", "verify", "--json")
    assert done.exit_code == 1
    (bad,) = json.loads(done.stdout)["bad"]
    assert "the row of the share is damaged" in bad["what"]


@pytest.mark.parametrize(
    "change", ["threshold = 9", "threshold = 1", "signers = array_append(signers, signers[1])"]
)
async def test_a_share_of_an_impossible_group_is_named(
    config: Path, pool: Pool, shares: Shares, change: str
):
    await activate(pool, shares, new_key())
    await pool.rows(f"UPDATE shares SET {change}")
    done = await command(config, "shares", "verify", "--json")
    assert done.exit_code == 1
    (bad,) = json.loads(done.stdout)["bad"]
    assert "the row of the share is damaged" in bad["what"]


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("shares", "created_at", ["shares", "list"]),
        ("bans", "learned_at", ["bans", "list"]),
        ("peers", "added_at", ["peers", "list"]),
        ("applications", "added_at", ["apps", "list"]),
        ("repair_approvals", "approved_at", ["repair", "list"]),
    ],
)
async def test_a_value_that_cannot_even_be_read_is_an_error_that_says_so(
    damaged: Path, pool: Pool, table: str, column: str, words: list[str]
):
    await pool.rows(f"UPDATE {table} SET {column} = 'infinity'")
    done = await command(damaged, *words)
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "has a value that cannot be read" in done.stderr


async def test_a_file_in_the_place_of_the_identity_key_is_an_error(config: Path):
    (config.parent / "identity.pem").write_bytes(b"\xff" * 40)
    (config.parent / "identity.pem").chmod(0o600)
    for words in (["audit", "verify", "--offline"], ["bans", "list"], ["identity", "show"]):
        done = await command(config, *words)
        assert done.exit_code in (1, 2)
        assert isinstance(done.exception, SystemExit)
