"""The locks around phase 2, on a real database: guard 2 of DKLs23."""

import asyncio
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.statements import Statements
from mpc.bans.ban_locks import BanLocks
from mpc.bans.bans import Bans
from node.decisions import Failed
from wire.envelope import Signer

ME = "signer-1"
KEY = uuid4()


class Killed(BaseException):
    """A process that ends between two statements."""


@pytest.fixture
async def statements(signer_database: str):
    async with Statements(signer_database, 8, "test") as statements:
        yield statements


@pytest.fixture
def locks(statements: Statements) -> BanLocks:
    return BanLocks(statements, ME)


@pytest.fixture
def bans(statements: Statements) -> Bans:
    return Bans(statements, ME, Signer(Ed25519PrivateKey.generate()))


async def in_flight(statements: Statements) -> set[tuple[UUID, str]]:
    rows = await statements.rows("SELECT key_id, signer FROM in_flight")
    return {(row.key_id, row.signer) for row in rows}


async def barred(locks: BanLocks, *signers: str, key_id: UUID = KEY) -> tuple[str, ...]:
    with pytest.raises(Failed) as caught:
        async with locks.hold(key_id, signers, uuid4()):
            raise AssertionError("phase 2 was let begin")
    assert caught.value.code == "banned_counterparty"
    return caught.value.culprits


async def test_rows_are_there_during_the_phase_and_gone_after_it(statements, locks):
    async with locks.hold(KEY, ["signer-3", "signer-2"], uuid4()):
        assert await in_flight(statements) == {(KEY, "signer-2"), (KEY, "signer-3")}
    assert await in_flight(statements) == set()


async def test_one_ceremony_at_a_time_with_a_counterparty_also_across_processes(
    statements, locks, signer_database
):
    async with Statements(signer_database, 8, "another process") as elsewhere:
        other = BanLocks(elsewhere, ME)
        inside = 0

        async def phase(held: BanLocks, *signers: str) -> None:
            nonlocal inside
            async with held.hold(KEY, signers, uuid4()):
                assert inside == 0
                inside += 1
                await asyncio.sleep(0.01)
                inside -= 1

        both = [phase(each, "signer-2", "signer-3") for each in (locks, other) for _ in range(5)]
        await asyncio.gather(*both)


async def test_ceremonies_with_others_or_of_other_keys_do_not_wait(locks):
    async with (
        locks.hold(KEY, ["signer-2"], uuid4()),
        locks.hold(KEY, ["signer-3"], uuid4()),
        locks.hold(uuid4(), ["signer-2"], uuid4()),
    ):
        pass


async def test_a_row_that_a_crash_left_bars_the_counterparty_alone(statements, locks):
    with pytest.raises(Killed):
        async with locks.hold(KEY, ["signer-2"], uuid4()):
            raise Killed
    assert await barred(BanLocks(statements, ME), "signer-2", "signer-3") == ("signer-2",)
    async with locks.hold(KEY, ["signer-3"], uuid4()):
        pass
    assert await in_flight(statements) == {(KEY, "signer-2")}


async def test_a_failure_that_is_known_to_have_ended_the_phase_leaves_no_row(statements, locks):
    with pytest.raises(Failed):
        async with locks.hold(KEY, ["signer-2"], uuid4()):
            raise Failed("ceremony_aborted", "a message was wrong", transient=True)
    assert await in_flight(statements) == set()
    async with locks.hold(KEY, ["signer-2"], uuid4()):
        pass


async def test_whoever_waited_while_a_ban_was_made_is_not_let_in(locks, bans):
    waiting = []
    async with locks.hold(KEY, ["signer-2"], uuid4()):
        waiting = [asyncio.create_task(barred(locks, "signer-2")) for _ in range(20)]
        await asyncio.sleep(0.05)
        await bans.ban(KEY, "signer-2", "a check of the multiplication failed", uuid4())
    assert await asyncio.gather(*waiting) == [("signer-2",)] * 20


async def test_whoever_waited_in_another_process_sees_the_ban_too(locks, bans, signer_database):
    async with Statements(signer_database, 8, "another process") as elsewhere:
        async with locks.hold(KEY, ["signer-2"], uuid4()):
            waiting = asyncio.create_task(barred(BanLocks(elsewhere, ME), "signer-2", "signer-3"))
            await asyncio.sleep(0.1)
            await bans.ban(KEY, "signer-2", "a check of the multiplication failed", uuid4())
        assert await waiting == ("signer-2",)
    async with locks.hold(KEY, ["signer-3"], uuid4()):
        pass


async def test_one_whom_the_counterparty_has_banned_is_kept_out_too(statements, locks):
    theirs = Signer(Ed25519PrivateKey.generate())
    await Bans(statements, "signer-2", theirs).ban(KEY, ME, "they say so", None)
    assert await barred(locks, "signer-2") == ("signer-2",)
