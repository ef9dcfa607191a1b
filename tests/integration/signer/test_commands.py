"""``mpc-signer``, as an operator types it."""

import base64
import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.node.identity import load_identity
from custody.runtime.configuration import read_settings
from custody.runtime.signing_key import create_signing_key
from devstack.processes import LOCALHOST, free_port
from mpc.peers import checked_identity
from mpc.repair_approvals import RepairApprovals
from mpc.settings import SignerSettings
from mpc.shares.shares import Shares
from mpc.shares.stored_share import ShareState
from tests.integration.signer.commands import command, rewrite
from tests.integration.signer.conftest import configuration_text
from tests.integration.signer.keys import (
    MADE_FOR,
    ME,
    SIGNERS,
    activate,
    confirm,
    found,
    new_key,
    promise,
    put,
)


def public_key() -> str:
    return base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()


@pytest.fixture
def config(config: Path) -> Path:
    create_signing_key(config.parent / "identity.pem")
    return config


async def peers(config: Path) -> dict[str, str]:
    done = await command(config, "peers", "list", "--json")
    return {each["signer"]: each["identity"] for each in json.loads(done.stdout)}


async def test_peers_are_pinned_listed_and_removed(config: Path):
    first, second = public_key(), public_key()
    for name, key in (("signer-2", first), ("signer-3", second)):
        assert (await command(config, "peers", "add", name, "--identity", key)).exit_code == 0
    assert await peers(config) == {"signer-2": first, "signer-3": second}
    done = await command(config, "peers", "remove", "signer-2")
    assert done.exit_code == 0
    assert "no more ceremonies with it" in done.stdout
    assert await peers(config) == {"signer-3": second}
    assert (await command(config, "peers", "remove", "signer-2")).exit_code == 1


async def test_pinning_the_same_again_changes_nothing(config: Path):
    key = public_key()
    for _ in range(2):
        assert (await command(config, "peers", "add", "signer-2", "--identity", key)).exit_code == 0
    assert await peers(config) == {"signer-2": key}


async def test_a_pin_is_never_replaced_in_passing(config: Path):
    key = public_key()
    await command(config, "peers", "add", "signer-2", "--identity", key)
    done = await command(config, "peers", "add", "signer-2", "--identity", public_key())
    assert done.exit_code == 1
    assert "another identity key" in done.stderr
    assert await peers(config) == {"signer-2": key}


async def test_two_signers_never_have_one_identity(config: Path):
    key = public_key()
    await command(config, "peers", "add", "signer-2", "--identity", key)
    done = await command(config, "peers", "add", "signer-3", "--identity", key)
    assert done.exit_code == 1
    assert "signer-2's" in done.stderr


async def test_a_signers_own_identity_is_no_peers(config: Path):
    own = json.loads((await command(config, "identity", "show", "--json")).stdout)["public_key"]
    done = await command(config, "peers", "add", "signer-2", "--identity", own)
    assert done.exit_code == 1
    assert "own identity" in done.stderr
    assert await peers(config) == {}


async def test_a_signer_is_not_its_own_peer(config: Path):
    done = await command(config, "peers", "add", ME, "--identity", public_key())
    assert done.exit_code == 1
    assert await peers(config) == {}


async def test_identity_show_prints_what_others_pin(config: Path):
    shown = json.loads((await command(config, "identity", "show", "--json")).stdout)
    settings = read_settings(config, SignerSettings)
    assert shown["node"] == settings.node.id
    own = load_identity(settings.identity.private_key).public_key
    assert checked_identity(shown["public_key"]) == own


async def key_in_use(shares: Shares, pool: Pool) -> UUID:
    made = new_key()
    await activate(pool, shares, made)
    return made.key_id


@pytest.mark.parametrize(
    ("wait", "state"), [(confirm, ShareState.ABANDONED), (promise, ShareState.DISCARDED)]
)
async def test_a_share_that_waits_is_discarded_by_hand(
    shares: Shares, pool: Pool, config: Path, wait, state: ShareState
):
    made = new_key()
    await activate(pool, shares, made)
    waiting = made.refreshed()
    await wait(pool, shares, waiting)
    words = ["shares", "discard", made.key_id, waiting.ceremony, "--reason", "spoke to Ada and Bo"]
    done = await command(config, *words)
    assert done.exit_code == 0, done.stderr
    assert (await found(shares, waiting)).state is state
    assert (await found(shares, made)).is_active
    (row,) = await pool.rows("SELECT record FROM audit")
    record = json.loads(row.record)
    assert record["kind"] == "DiscardShare"
    assert record["reason"] == "spoke to Ada and Bo"
    assert (await command(config, *words)).exit_code == 1


async def test_a_share_in_use_is_not_discarded_by_hand(shares: Shares, pool: Pool, config: Path):
    made = new_key()
    await activate(pool, shares, made)
    done = await command(
        config, "shares", "discard", made.key_id, made.ceremony, "--reason", "a slip"
    )
    assert done.exit_code == 1
    assert "shares list" in done.stderr
    assert (await found(shares, made)).is_active
    assert await pool.rows("SELECT FROM audit") == []


async def test_a_repair_is_approved_for_a_time_and_revoked(
    shares: Shares, pool: Pool, config: Path
):
    await command(config, "peers", "add", "signer-2", "--identity", public_key())
    key = await key_in_use(shares, pool)
    approvals = RepairApprovals(pool)
    words = ["repair", "approve", key, "signer-2", "--reason", "disk failed, spoke to Ada"]
    done = await command(config, *words, "--hours", 2)
    assert done.exit_code == 0, done.stderr
    assert await approvals.holds(key, "signer-2")
    assert not await approvals.holds(key, "signer-3")
    assert not await approvals.holds(uuid4(), "signer-2")
    (row,) = json.loads((await command(config, "repair", "list", "--json")).stdout)
    assert (row["signer"], row["reason"]) == ("signer-2", "disk failed, spoke to Ada")
    assert (await command(config, "repair", "revoke", key, "signer-2")).exit_code == 0
    assert not await approvals.holds(key, "signer-2")
    assert (await command(config, "repair", "revoke", key, "signer-2")).exit_code == 1
    kinds = [
        json.loads(row.record)["kind"]
        for row in await pool.rows("SELECT record FROM audit ORDER BY sequence")
    ]
    assert kinds == ["ApproveRepair", "RevokeRepair"]


async def test_only_a_repair_that_this_signer_can_help_with_is_approved(
    shares: Shares, pool: Pool, config: Path
):
    for name in ("signer-2", "signer-9"):
        await command(config, "peers", "add", name, "--identity", public_key())
    key = await key_in_use(shares, pool)
    for whose, signer in ((uuid4(), "signer-2"), (key, "signer-9")):
        done = await command(config, "repair", "approve", whose, signer, "--reason", "a slip")
        assert done.exit_code == 1
        assert "no share" in done.stderr
    assert json.loads((await command(config, "repair", "list", "--json")).stdout) == []


async def test_an_approval_ends_with_its_time(shares: Shares, pool: Pool, config: Path):
    await command(config, "peers", "add", "signer-2", "--identity", public_key())
    key = await key_in_use(shares, pool)
    await command(config, "repair", "approve", key, "signer-2", "--reason", "disk failed")
    await pool.rows("UPDATE repair_approvals SET expires_at = now()")
    assert not await RepairApprovals(pool).holds(key, "signer-2")
    assert json.loads((await command(config, "repair", "list", "--json")).stdout) == []


async def test_nobody_is_helped_who_is_not_pinned(pool: Pool, config: Path):
    done = await command(config, "repair", "approve", uuid4(), "signer-2", "--reason", "asked")
    assert done.exit_code == 1
    assert "not pinned" in done.stderr
    assert await RepairApprovals(pool).all() == []


async def test_shares_are_listed_without_a_secret(pool: Pool, shares: Shares, config: Path):
    first, second = new_key(), new_key()
    await activate(pool, shares, first)
    following = first.refreshed()
    await activate(pool, shares, following)
    await confirm(pool, shares, second)
    kept = json.loads((await command(config, "shares", "list", "--json")).stdout)
    assert {each["ceremony"]: each["state"] for each in kept} == {
        str(following.ceremony): "active",
        str(second.ceremony): "confirmed",
    }
    assert kept[0]["signers"] == SIGNERS
    everything = await command(config, "shares", "list", "--all", "--json")
    states = [each["state"] for each in json.loads(everything.stdout)]
    assert sorted(states) == ["active", "confirmed", "retired"]
    assert "data_key" not in everything.stdout
    assert "ciphertext" not in everything.stdout


async def test_an_uncertain_share_is_listed_with_its_state(
    pool: Pool, shares: Shares, config: Path
):
    """The operators keep a set that one signer has active, also if the signer was restored."""
    made = new_key()
    await activate(pool, shares, made)
    (row,) = json.loads((await command(config, "shares", "list", "--json")).stdout)
    assert (row["state"], row["is_uncertain"]) == ("active", False)
    await pool.rows("UPDATE shares SET uncertain = true")
    (row,) = json.loads((await command(config, "shares", "list", "--json")).stdout)
    assert (row["state"], row["is_uncertain"]) == ("active", True)
    table = (await command(config, "shares", "list")).stdout.splitlines()
    columns, cells = table[0].split(), table[1].split()
    assert (cells[columns.index("state")], cells[columns.index("is_uncertain")]) == (
        "active",
        "yes",
    )


async def test_a_share_of_an_imported_key_is_listed_as_such(
    pool: Pool, shares: Shares, config: Path
):
    generated, imported = new_key(), new_key()
    await activate(pool, shares, generated)
    made_for = MADE_FOR.model_copy(update={"imported": True})
    confirmation = imported.confirmation.model_copy(update={"made_for": made_for})
    await put(pool, await shares.prepare_row(confirmation, None, imported.ours))
    listed = json.loads((await command(config, "shares", "list", "--json")).stdout)
    assert {each["ceremony"]: each["is_imported"] for each in listed} == {
        str(generated.ceremony): False,
        str(imported.ceremony): True,
    }
    assert "is_imported" in (await command(config, "shares", "list")).stdout.splitlines()[0]


async def test_a_set_that_was_never_made_here_is_listed(pool, shares: Shares, config: Path):
    await put(pool, shares.abandon_row(uuid4(), uuid4()))
    (row,) = json.loads((await command(config, "shares", "list", "--all", "--json")).stdout)
    assert (row["state"], row["generation"]) == ("abandoned", None)
    assert (await command(config, "shares", "list", "--all")).exit_code == 0


async def test_verify_finds_each_share_that_cannot_be_used(
    pool: Pool, shares: Shares, config: Path
):
    good, bad = new_key(), new_key()
    await activate(pool, shares, good)
    await activate(pool, shares, bad)
    done = await command(config, "shares", "verify", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"verified": 2, "bad": []}

    await pool.rows(
        "UPDATE shares SET public_key = sha256(public_key) WHERE key_id = :key_id",
        {"key_id": bad.key_id},
    )
    done = await command(config, "shares", "verify", "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["verified"] == 1
    assert [each["key_id"] for each in said["bad"]] == [str(bad.key_id)]
    assert "public key" in said["bad"][0]["what"]
    assert (await command(config, "shares", "verify", good.key_id)).exit_code == 0
    done = await command(config, "shares", "verify", uuid4())
    assert done.exit_code == 1
    assert "has no share" in done.stderr


async def test_verify_sees_more_than_one_page(pool, shares: Shares, config: Path):
    keys = [new_key() for _ in range(35)]
    await put(
        pool, *[await shares.prepare_row(each.confirmation, None, each.ours) for each in keys]
    )
    done = await command(config, "shares", "verify", "--json")
    assert json.loads(done.stdout)["verified"] == 35


@pytest.mark.parametrize(
    "words",
    [
        ["migrate"],
        ["peers", "list"],
        ["shares", "list"],
        ["shares", "verify"],
        ["bans", "list"],
        ["repair", "list"],
        ["rewrap", "--new-key-file", "next.key"],
    ],
)
async def test_a_database_that_is_away_is_an_error_that_says_what_to_do(
    config: Path, words: list[str]
):
    rewrite(config, configuration_text(f"postgresql://me@{LOCALHOST}:{free_port()}/signer"))
    done = await command(config, *words)
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "[database]" in done.stderr


async def test_rewrap_wants_to_know_under_which_key(config: Path):
    for words in ([], ["--to-hsm", "--new-key-file", "next.key"]):
        done = await command(config, "rewrap", *words)
        assert done.exit_code == 1
        assert "Give either --new-key-file or --to-hsm" in done.stderr
    done = await command(config, "rewrap", "--to-hsm")
    assert done.exit_code == 1
    assert "[encryption.hsm]" in done.stderr


async def test_the_schema_must_be_this_versions(config: Path, empty_database: str):
    rewrite(config, configuration_text(empty_database))
    done = await command(config, "shares", "list")
    assert done.exit_code == 1
    assert "mpc-signer migrate" in done.stderr
    assert (await command(config, "migrate")).exit_code == 0
    assert (await command(config, "shares", "list")).exit_code == 0


async def test_a_database_that_takes_no_writes_is_an_error_that_says_what_to_do(
    pool: Pool, config: Path
):
    [row] = await pool.rows("SELECT current_database() AS name")
    await pool.rows(f"ALTER DATABASE {row.name} SET default_transaction_read_only = on")
    done = await command(config, "peers", "add", "signer-2", "--identity", public_key())
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "takes no writes" in done.stderr
    assert "primary" in done.stderr
