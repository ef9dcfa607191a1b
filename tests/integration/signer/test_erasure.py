"""`mpc-signer shares erase`: an operator erases the shares of a key that has moved, for good."""

import json
from pathlib import Path
from signal import SIGKILL
from typing import Any
from uuid import UUID, uuid4

import pytest
from asyncpg.exceptions import NotNullViolationError

from custody.database.pool import Pool
from custody.runtime.signing_key import create_signing_key
from mpc.restored.needed_repairs import needed_repairs
from mpc.restored.watch import peers_answers
from mpc.shares import share_queries
from mpc.shares.shares import Shares
from mpc.shares.stored_share import ShareState
from tests.integration.signer.commands import command, erase_until_killed
from tests.integration.signer.keys import (
    ME,
    OTHERS,
    SetOfShares,
    activate,
    confirm,
    found,
    new_key,
    promise,
    put,
)
from tests.integration.signer.test_shares import erased

WHY = ("--reason", "moved to zurich")


@pytest.fixture
def config(config: Path) -> Path:
    create_signing_key(config.parent / "identity.pem")
    return config


async def archive(config: Path, key_id: UUID) -> None:
    done = await command(config, "shares", "archive", key_id, *WHY)
    assert done.exit_code == 0, done.stderr


async def erase(config: Path, made: SetOfShares) -> str:
    await archive(config, made.key_id)
    done = await command(config, "shares", "erase", made.key_id, *WHY, "--yes")
    assert done.exit_code == 0, done.stderr
    return str(done.stdout)


async def records(pool: Pool) -> list[dict[str, Any]]:
    rows = await pool.rows("SELECT record FROM audit ORDER BY sequence")
    return [json.loads(row.record) for row in rows]


@pytest.mark.parametrize(
    ("wait", "state"), [(confirm, ShareState.ABANDONED), (promise, ShareState.ERASED)]
)
async def test_all_sets_of_the_key_are_erased_and_no_other(
    pool: Pool, shares: Shares, config: Path, wait, state: ShareState
):
    made, other = new_key(), new_key()
    await activate(pool, shares, made)
    await activate(pool, shares, other)
    following = made.refreshed()
    await wait(pool, shares, following)
    await erase(config, made)
    assert (await found(shares, made)).state is ShareState.ERASED
    assert (await found(shares, following)).state is state
    assert await erased(pool, made.ceremony)
    assert await erased(pool, following.ceremony)
    assert (await found(shares, other)).is_active
    assert not await erased(pool, other.ceremony)
    assert await shares.active(made.key_id) is None


async def test_a_restored_signer_does_not_ask_for_keys_that_are_erased(
    pool: Pool, shares: Shares, config: Path
):
    """Their other signers may be gone. The row of an earlier set is not erased, but retired."""
    made = new_key()
    await activate(pool, shares, made)
    await activate(pool, shares, made.refreshed())
    assert (await found(shares, made)).state is ShareState.RETIRED
    assert [each.signer for each in await peers_answers(pool, ME)] == OTHERS
    await erase(config, made)
    assert await peers_answers(pool, ME) == []
    assert await pool.rows(share_queries.GROUPS) == []


async def test_each_erased_set_has_a_record_and_the_chain_verifies(
    pool: Pool, shares: Shares, config: Path
):
    made = new_key()
    await activate(pool, shares, made)
    await erase(config, made)
    archived, told = await records(pool)
    assert (archived["kind"], told["kind"]) == ("ArchiveByHand", "EraseShare")
    assert (told["ceremony"], told["reason"]) == (str(made.ceremony), "moved to zurich")
    done = await command(config, "audit", "verify", "--offline", "--json")
    assert (done.exit_code, json.loads(done.stdout)["findings"]) == (0, [])


async def test_a_share_that_somebody_calls_erased_is_found(
    pool: Pool, shares: Shares, config: Path
):
    made = new_key()
    await activate(pool, shares, made)
    await pool.rows(
        "UPDATE shares SET state = 'erased', data_key = NULL, ciphertext = NULL, "
        "encryption_key = NULL"
    )
    done = await command(config, "audit", "verify", "--offline", "--json")
    [finding] = json.loads(done.stdout)["findings"]
    assert str(made.ceremony) in finding["what"]
    assert "no audit record" in finding["what"]


async def test_only_an_archived_key_is_erased(pool: Pool, shares: Shares, config: Path):
    made = new_key()
    await activate(pool, shares, made)
    done = await command(config, "shares", "erase", made.key_id, *WHY, "--yes")
    assert done.exit_code == 1
    assert "not archived" in done.stderr
    await archive(config, made.key_id)
    assert (await command(config, "shares", "unarchive", made.key_id, *WHY)).exit_code == 0
    done = await command(config, "shares", "erase", made.key_id, *WHY, "--yes")
    assert done.exit_code == 1
    assert "not archived" in done.stderr
    assert "Archive it first" in done.stderr  # the operator was not asked in vain
    assert (await found(shares, made)).is_active


async def test_a_key_of_which_a_child_is_archived_is_not_erased(
    pool: Pool, shares: Shares, config: Path
):
    made = new_key()
    await activate(pool, shares, made)
    child = ("shares", "archive", made.key_id, "--path", "m/0", *WHY)
    assert (await command(config, *child)).exit_code == 0
    shown = await command(config, "shares", "archivals", "--json")
    (archival,) = json.loads(shown.stdout)
    assert (archival["key_id"], archival["path"]) == (str(made.key_id), "m/0")
    done = await command(config, "shares", "erase", made.key_id, *WHY, "--yes")
    assert done.exit_code == 1
    assert (await found(shares, made)).is_active


async def test_the_statement_itself_erases_no_key_that_is_not_archived(pool: Pool, shares: Shares):
    """The operator's answer takes time, and the key may be un-archived meanwhile."""
    made = new_key()
    await activate(pool, shares, made)
    assert await pool.rows(share_queries.ERASE, {"key_id": made.key_id}) == []
    assert (await found(shares, made)).is_active


async def test_the_operator_is_asked_with_the_numbers_of_the_group(
    pool: Pool, shares: Shares, config: Path
):
    made = new_key()
    await activate(pool, shares, made)
    await archive(config, made.key_id)
    done = await command(config, "shares", "erase", made.key_id, *WHY)  # nobody answers
    assert done.exit_code != 0
    assert "2 of 3: once 2 of its signers have erased" in done.stderr
    assert (await found(shares, made)).is_active


async def test_a_key_that_is_unknown_or_erased_already_has_nothing_to_erase(
    pool: Pool, shares: Shares, config: Path
):
    made = new_key()
    await activate(pool, shares, made)
    await erase(config, made)
    before = len(await records(pool))
    for key_id in (made.key_id, uuid4()):
        done = await command(config, "shares", "erase", key_id, *WHY, "--yes")
        assert done.exit_code == 1
        assert "no share" in done.stderr
    assert len(await records(pool)) == before


async def test_no_share_of_an_erased_key_is_stored_again(pool: Pool, shares: Shares, config: Path):
    """Neither what a ceremony has under way, nor a repair, nor another key under the id."""
    made = new_key()
    await activate(pool, shares, made)
    promised = made.refreshed()
    stored = await promise(pool, shares, promised)
    await erase(config, made)
    with pytest.raises(NotNullViolationError):
        await put(pool, shares.activate_row(stored))
    with pytest.raises(NotNullViolationError):
        await confirm(pool, shares, promised.refreshed())
    again = made.refreshed()
    for lost in (made, again):  # the set that was here, and one that never was
        with pytest.raises(NotNullViolationError):
            await put(pool, await shares.repaired_row(lost.repair_ticket(), None, lost.repaired()))
    known = await shares.known(made.key_id)
    assert known is not None
    assert known.is_erased_by_operator
    assert known.public_key == made.ours.public_key


async def test_an_erased_share_is_not_asked_for_after_a_restore(
    pool: Pool, shares: Shares, config: Path
):
    """The peers still use the set. To this signer it is not lost."""
    made, lost = new_key(), new_key()
    await activate(pool, shares, made)
    await erase(config, made)
    each = [made, lost]
    stated = {
        "key_ids": [one.key_id for one in each],
        "ceremonies": [one.ceremony for one in each],
        "generations": [1, 1],
        "thresholds": [2, 2],
        "told_by": ["signer-2,signer-3"] * 2,
    }
    await pool.rows(share_queries.NEED_REPAIRS, stated)
    assert [one.key_id for one in await needed_repairs(pool)] == [lost.key_id]


async def test_copies_in_buckets_are_named_and_those_that_wait_are_deleted(
    pool: Pool, shares: Shares, config: Path
):
    made = new_key()
    await activate(pool, shares, made)
    insert = (
        "INSERT INTO share_copies (key_id, ceremony, place, customer_key, name, content, stored_at)"
        " VALUES (:key_id, :ceremony, :place, 'age1', :name, :content, :stored_at)"
    )
    [now] = await pool.rows("SELECT now() AS at")
    place = {"key_id": made.key_id, "ceremony": made.ceremony}
    stored = {"place": "s3://one", "name": "share-a", "content": None, "stored_at": now.at}
    waiting = {"place": "s3://two", "name": "share-b", "content": b"age", "stored_at": None}
    for copy in (stored, waiting):
        await pool.rows(insert, place | copy)
    said = await erase(config, made)
    assert "share-a (s3://one)" in said
    assert "share-b" not in said
    assert "backups" in said
    left = await pool.rows("SELECT name FROM share_copies")
    assert [row.name for row in left] == ["share-a"]


async def test_erased_shares_are_listed_and_verified_as_nothing(
    pool: Pool, shares: Shares, config: Path
):
    made = new_key()
    await activate(pool, shares, made)
    await erase(config, made)
    assert json.loads((await command(config, "shares", "list", "--json")).stdout) == []
    everything = await command(config, "shares", "list", "--all", "--json")
    assert [each["state"] for each in json.loads(everything.stdout)] == ["erased"]
    assert (await command(config, "shares", "list", "--all")).exit_code == 0
    done = await command(config, "shares", "verify", "--json")
    assert json.loads(done.stdout) == {"verified": 0, "bad": []}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_command_that_is_killed_has_erased_all_sets_or_none(
    pool: Pool, shares: Shares, config: Path, when: str
):
    made = new_key()
    await activate(pool, shares, made)
    following = made.refreshed()
    await promise(pool, shares, following)
    await archive(config, made.key_id)
    assert await erase_until_killed(config, made.key_id, when) == -SIGKILL
    is_erased = when == "after"
    assert await erased(pool, made.ceremony) == is_erased
    assert await erased(pool, following.ceremony) == is_erased
    assert [each["kind"] for each in await records(pool)][1:] == ["EraseShare"] * 2 * is_erased
    if not is_erased:
        assert (await found(shares, made)).is_active
        done = await command(config, "shares", "erase", made.key_id, *WHY, "--yes")
        assert done.exit_code == 0, done.stderr
    assert await erased(pool, made.ceremony)
    done = await command(config, "audit", "verify", "--offline", "--json")
    assert (done.exit_code, json.loads(done.stdout)["findings"]) == (0, [])
