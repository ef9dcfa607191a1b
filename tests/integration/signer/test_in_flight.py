"""What a crash leaves in flight, and what an operator can say of it."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tenacity import AsyncRetrying, retry_if_result, wait_fixed

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.node.identity import load_identity
from custody.runtime.errors import OperatorError
from custody.runtime.signing_key import create_signing_key
from custody.wire.signed_bytes import SigningKey
from mpc.bans.ban_locks import BanLocks
from mpc.bans.bans import Bans
from mpc.bans.earned_bans import EarnedBans
from mpc.bans.in_flight import InFlight, in_flight
from mpc.bans.in_flight import left as all_left
from mpc.peers import Peers
from tests.integration.signer.commands import command
from tests.integration.signer.keys import ME

OTHER = "signer-2"

CRASHING = """
import asyncio, os, signal, sys
from uuid import UUID
from custody.database.pool import Pool
from mpc.bans.ban_locks import BanLocks
from mpc.bans.bans import Bans

async def main(url, key, ceremony):
    async with Pool(url, 2, "crashing") as statements:
        async with BanLocks(statements, "signer-1", Bans(statements, "signer-1", None)) as locks:
            async with locks.hold(UUID(key), ["signer-2"], UUID(ceremony)):
                os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def config(config: Path) -> Path:
    create_signing_key(config.parent / "identity.pem")
    return config


@pytest.fixture
async def left(signer_database: str) -> UUID:
    """A key under which a killed signer has left a row in flight."""
    key = uuid4()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, signer_database, str(key), str(uuid4())
    )
    assert await process.wait() == -signal.SIGKILL
    return key


@contextlib.asynccontextmanager
async def running(pool: Pool) -> AsyncIterator[BanLocks]:
    bans = Bans(pool, ME, SigningKey(Ed25519PrivateKey.generate()))
    async with BanLocks(pool, ME, bans) as locks:
        yield locks


async def can_sign(pool: Pool, key: UUID) -> bool:
    ceremony = uuid4()
    async with running(pool) as locks:
        with contextlib.suppress(Failed):
            async with locks.hold(key, [OTHER], ceremony):
                pass
            await locks.release(ceremony)
            return True
    return False


async def eventually_left(pool: Pool, key: UUID) -> None:
    """Once the server has seen that the killed process is gone."""

    async def is_left() -> bool:
        return [key] == [each.key_id for each in await in_flight(pool) if not each.is_under_way]

    await AsyncRetrying(retry=retry_if_result(lambda left: not left), wait=wait_fixed(0.01))(
        is_left
    )


async def test_what_a_crash_left_bars_the_pair_until_an_operator_clears_it(
    pool: Pool, config: Path, left: UUID
):
    await eventually_left(pool, left)
    assert not await can_sign(pool, left)
    done = await command(config, "bans", "list", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["does_not_sign_with"], row["is_left_in_flight"]) == (OTHER, True)

    done = await command(
        config, "bans", "resolve", left, OTHER, "--clear", "--reason", "power cut of the rack"
    )
    assert done.exit_code == 0, done.stderr
    assert "1 so far" in done.stdout
    assert await can_sign(pool, left)


async def test_clearing_is_in_the_audit_chain(pool: Pool, config: Path, left: UUID):
    await eventually_left(pool, left)
    await command(config, "bans", "resolve", left, OTHER, "--clear", "--reason", "power cut")
    done = await command(config, "audit", "verify", "--offline")
    assert done.exit_code == 0, done.stdout
    [row] = await pool.rows("SELECT record FROM audit")
    act = json.loads(row.record)
    assert (act["kind"], act["signer"], act["reason"]) == ("ClearInFlight", OTHER, "power cut")
    assert act["key_id"] == str(left)
    assert act["operator"]


async def test_what_nobody_can_explain_becomes_a_ban_for_good(pool: Pool, config: Path, left: UUID):
    await eventually_left(pool, left)
    arguments = ["bans", "resolve", left, OTHER]
    done = await command(config, *arguments, "--ban", "--reason", "crashed three times")
    assert done.exit_code == 0, done.stderr
    assert not await can_sign(pool, left)
    assert await in_flight(pool) == []
    for flag in ("--clear", "--ban"):
        done = await command(config, *arguments, flag, "--reason", "please")
        assert done.exit_code == 1
        assert "what is banned for good: mpc-signer bans list" in done.stderr
    assert not await can_sign(pool, left)


async def test_what_is_under_way_is_neither_shown_nor_cleared(pool: Pool, config: Path):
    key, ceremony = uuid4(), uuid4()
    async with running(pool) as locks, locks.hold(key, [OTHER], ceremony):
        assert json.loads((await command(config, "bans", "list", "--json")).stdout) == []
        done = await command(
            config, "bans", "resolve", key, OTHER, "--clear", "--reason", "impatience"
        )
        assert done.exit_code == 1
        assert "under way" in done.stderr
        assert len(await in_flight(pool)) == 1
        await locks.release(ceremony)
    assert await in_flight(pool) == []


async def test_a_crash_in_the_middle_of_many_ceremonies_is_cleared_as_one(
    pool: Pool, config: Path, left: UUID
):
    """However many were under way, one stop of this signer gave the counterparty one chance."""
    row = {"key": left, "signer": OTHER}
    for _ in range(5):
        await pool.rows(
            "INSERT INTO in_flight (key_id, signer, ceremony, process)"
            " VALUES (:key, :signer, gen_random_uuid(), gen_random_uuid())",
            row,
        )
    await eventually_left(pool, left)
    done = await command(config, "bans", "resolve", left, OTHER, "--clear", "--reason", "power cut")
    assert "1 so far" in done.stdout
    assert await in_flight(pool) == []
    assert await can_sign(pool, left)


async def test_what_is_cleared_between_two_looks_hides_nothing_else_of_its_pair(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    """The looks of a double: nothing else clears in the instant between them."""
    key, old, other, now = uuid4(), uuid4(), uuid4(), datetime.now(UTC)
    looks = [
        [InFlight(key, OTHER, now - timedelta(hours=1), [old, other], False, 0)],
        [InFlight(key, OTHER, now, [other], False, 1)],
    ]

    async def look(_: Pool) -> list[InFlight]:
        return looks.pop(0)

    monkeypatch.setattr("mpc.bans.in_flight.in_flight", look)
    assert [each.key_id for each in await all_left(pool)] == [key]


async def test_a_ban_that_a_killed_process_could_not_write_is_no_innocent_stop(
    pool: Pool, config: Path, left: UUID
):
    await eventually_left(pool, left)
    [row] = await in_flight(pool)
    earned = EarnedBans(config.parent / "state")
    identity = load_identity(config.parent / "identity.pem")
    Bans(pool, ME, identity, earned).earn(left, OTHER, "it lied", row.ceremonies[0])

    (shown,) = json.loads((await command(config, "bans", "list", "--json")).stdout)
    assert (shown["why"], shown["is_left_in_flight"]) == ("it lied", False)
    arguments = ["bans", "resolve", left, OTHER, "--clear", "--reason", "a restart"]
    done = await command(config, *arguments)
    assert (done.exit_code, "earned a ban" in done.stderr) == (1, True)

    bans = Bans(pool, ME, identity, earned)
    assert bans.earned_among(left, [OTHER]) == (OTHER,)
    async with BanLocks(pool, ME, bans), asyncio.timeout(5):
        while earned.all():  # noqa: ASYNC110 (a file has no event)
            await asyncio.sleep(0.01)
    assert await in_flight(pool) == []
    assert [each.reason for each in await bans.all()] == ["it lied"]
    assert not await can_sign(pool, left)


def test_an_earned_ban_that_cannot_be_read_stops_the_start(
    pool: Pool, tmp_path: Path, identity: SigningKey
):
    earned, ceremony = EarnedBans(tmp_path), uuid4()
    Bans(pool, ME, SigningKey(Ed25519PrivateKey.generate()), earned).earn(
        uuid4(), OTHER, "it lied", ceremony
    )
    with pytest.raises(OperatorError, match="has not signed it"):
        Bans(pool, ME, identity, earned)
    (tmp_path / "earned_bans" / f"{ceremony}.json").write_text("{")
    with pytest.raises(OperatorError, match="cannot be read"):
        Bans(pool, ME, identity, earned)


def test_an_earned_ban_counts_in_memory_where_the_disk_takes_nothing(
    pool: Pool, tmp_path: Path, identity: SigningKey
):
    (tmp_path / "state").write_text("a file where the folder should be")
    bans, key = Bans(pool, ME, identity, EarnedBans(tmp_path / "state")), uuid4()
    bans.earn(key, OTHER, "it lied", uuid4())
    assert bans.earned_among(key, [OTHER]) == (OTHER,)


async def test_how_often_the_same_was_cleared_is_counted(
    pool: Pool, config: Path, signer_database: str, left: UUID
):
    await eventually_left(pool, left)
    await command(config, "bans", "resolve", left, OTHER, "--clear", "--reason", "first")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, signer_database, str(left), str(uuid4())
    )
    await process.wait()
    await eventually_left(pool, left)
    (row,) = json.loads((await command(config, "bans", "list", "--json")).stdout)
    assert "cleared 1 times before" in row["why"]


@pytest.mark.parametrize("flags", [[], ["--clear", "--ban"]])
async def test_it_must_be_said_which(config: Path, left: UUID, flags: list[str]):
    done = await command(config, "bans", "resolve", left, OTHER, *flags, "--reason", "unsure")
    assert done.exit_code == 2
    assert "give either --clear or --ban" in " ".join(done.stderr.split())


async def test_a_ban_by_hand_bars_the_pair_at_once_and_is_signed(
    pool: Pool, config: Path, tmp_path: Path
):
    key = uuid4()
    by_hand = ["bans", "add", key, OTHER, "--reason", "restored without it"]
    done = await command(config, *by_hand)
    assert (done.exit_code, "not pinned here" in done.stderr) == (1, True)
    await Peers(pool).add(OTHER, create_signing_key(tmp_path / "other.pem").public_key)
    done = await command(config, *by_hand)
    assert done.exit_code == 0, done.stderr
    assert not await can_sign(pool, key)
    assert await can_sign(pool, uuid4())
    (row,) = json.loads((await command(config, "bans", "list", "--json")).stdout)
    assert "restored without it" in row["why"]
    done = await command(config, "bans", "add", key, ME, "--reason", "oneself")
    assert done.exit_code == 1


async def test_an_own_ban_is_listed_with_its_reason(pool: Pool, config: Path, identity):
    key = uuid4()
    await Bans(pool, ME, identity).ban(key, OTHER, "a check failed", None)
    (row,) = json.loads((await command(config, "bans", "list", "--json")).stdout)
    assert (row["key_id"], row["signer"], row["why"]) == (str(key), ME, "a check failed")
