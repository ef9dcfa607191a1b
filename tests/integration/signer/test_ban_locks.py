"""The guarded phases of signing, on a real database: guard 2 of DKLs23."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.causes import Unavailable
from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.wire.signed_bytes import SigningKey
from mpc.bans.ban_locks import BanLocks
from mpc.bans.bans import Bans
from tests.integration.database_outage import Outage, away

ME = "signer-1"
KEY = uuid4()
REASON = "a check of the multiplication failed"


@asynccontextmanager
async def process(url: str, connections: int = 8, **more: Any) -> AsyncIterator[BanLocks]:
    """One more process of the signer. Its end is a clean one."""
    async with Pool(url, connections, "another process") as pool:
        bans = Bans(pool, ME, SigningKey(Ed25519PrivateKey.generate()))
        async with BanLocks(pool, ME, bans) as locks:
            yield locks


@pytest.fixture
async def locks(signer_database: str) -> AsyncIterator[BanLocks]:
    async with process(signer_database) as locks:
        yield locks


@pytest.fixture
def bans(locks: BanLocks) -> Bans:
    return locks._bans


async def in_flight(pool: Pool) -> set[tuple[UUID, str]]:
    rows = await pool.rows("SELECT key_id, signer FROM in_flight")
    return {(row.key_id, row.signer) for row in rows}


async def banned(pool: Pool) -> list[str]:
    return [row.banned for row in await pool.rows("SELECT banned FROM bans")]


def barred_by_another(locks: BanLocks, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return an event: another process's row has kept one of these locks' ceremonies waiting."""
    enter, found = locks._enter, asyncio.Event()

    async def noted(*arguments: Any) -> Any:
        if rows := await enter(*arguments):
            found.set()
        return rows

    monkeypatch.setattr(locks, "_enter", noted)
    return found


async def gone(pool: Pool) -> None:
    """Return once nothing is in flight."""
    async with asyncio.timeout(20):
        while await in_flight(pool):  # noqa: ASYNC110 (PostgreSQL's)
            await asyncio.sleep(0.02)


async def barred(
    locks: BanLocks, *signers: str, code: str = "banned_counterparty", key_id: UUID = KEY
) -> Failed:
    with pytest.raises(Failed) as caught:
        async with locks.hold(key_id, signers, uuid4()):
            raise AssertionError("phase 2 was let begin")
    assert caught.value.code == code, caught.value
    return caught.value


async def sign(locks: BanLocks, *signers: str, key_id: UUID = KEY) -> None:
    """Go through both phases, to a good end."""
    ceremony = uuid4()
    async with locks.hold(key_id, signers, ceremony):
        pass
    await locks.release(ceremony)


async def attempt(locks: BanLocks, *signers: str) -> str | None:
    """The code with which signing failed; None when it did not."""
    try:
        await sign(locks, *signers)
    except Failed as failure:
        return failure.code
    return None


async def kill(locks: BanLocks) -> None:
    """Have a process end as SIGKILL ends it: nothing is written, its connections are gone."""
    assert locks._settler is not None
    locks._settler.cancel()
    await locks._process.__aexit__(None, None, None)


async def test_rows_are_there_from_before_phase_2_until_a_good_end_of_phase_3(pool, locks):
    ceremony = uuid4()
    async with locks.hold(KEY, ["signer-3", "signer-2"], ceremony):
        assert await in_flight(pool) == {(KEY, "signer-2"), (KEY, "signer-3")}
    assert await in_flight(pool) == {(KEY, "signer-2"), (KEY, "signer-3")}
    await locks.release(ceremony)
    assert await in_flight(pool) == set()


async def test_one_ceremony_at_a_time_goes_through_phase_2_also_across_processes(
    locks, signer_database
):
    async with process(signer_database) as other:
        inside = 0

        async def phase(held: BanLocks, *signers: str) -> None:
            nonlocal inside
            ceremony = uuid4()
            async with held.hold(KEY, signers, ceremony):
                assert inside == 0
                inside += 1
                await asyncio.sleep(0.01)
                inside -= 1
            await held.release(ceremony)

        both = [phase(each, "signer-2", "signer-3") for each in (locks, other) for _ in range(5)]
        await asyncio.gather(*both)


async def test_a_ceremony_between_the_phases_keeps_no_other_of_its_process_waiting(locks):
    first = uuid4()
    async with locks.hold(KEY, ["signer-2"], first):
        pass
    await sign(locks, "signer-2")
    await locks.release(first)


async def test_ceremonies_with_others_or_of_other_keys_do_not_wait(locks):
    async with (
        locks.hold(KEY, ["signer-2"], uuid4()),
        locks.hold(KEY, ["signer-3"], uuid4()),
        locks.hold(uuid4(), ["signer-2"], uuid4()),
    ):
        pass


async def test_what_another_process_has_under_way_is_waited_for_and_not_for_ever(
    locks, signer_database, monkeypatch
):
    monkeypatch.setattr("mpc.bans.ban_locks.WAIT_SECONDS", 0.3)
    async with process(signer_database) as other, other.hold(KEY, ["signer-2"], uuid4()):
        await barred(locks, "signer-2", code="in_flight_elsewhere")
        await sign(locks, "signer-3")


async def test_who_waits_for_another_process_keeps_nobody_of_its_own_waiting(
    locks, signer_database, monkeypatch
):
    async with process(signer_database) as other:
        ceremony = uuid4()
        async with other.hold(KEY, ["signer-3"], ceremony):
            pass
        is_barred = barred_by_another(locks, monkeypatch)
        waiting = asyncio.create_task(sign(locks, "signer-2", "signer-3"))
        async with asyncio.timeout(20):
            await is_barred.wait()
        async with asyncio.timeout(2):
            await sign(locks, "signer-2")
        assert not waiting.done()
        await other.release(ceremony)
        await waiting


async def test_a_row_that_a_killed_process_left_bars_the_counterparty_alone_and_is_no_ban(
    pool, signer_database, locks
):
    async with process(signer_database) as killed:
        async with killed.hold(KEY, ["signer-2"], uuid4()):
            await kill(killed)
        left = await barred(locks, "signer-2", "signer-3", code="left_in_flight")
        command = f"mpc-signer bans resolve {KEY} signer-2 --clear"
        assert command in left.reason
        assert (left.transient, left.culprits) == (True, ())
        with pytest.raises(Failed):
            await locks.require_none_left(KEY, ["signer-2"])
        await locks.require_none_left(KEY, ["signer-3"])
        await sign(locks, "signer-3")
        assert await in_flight(pool) == {(KEY, "signer-2")}


async def test_a_phase_whose_end_nobody_knows_bars_at_once_and_for_good(
    pool, locks, signer_database
):
    ceremony = uuid4()
    async with locks.hold(KEY, ["signer-2"], ceremony):
        locks.leave(ceremony)
    await barred(locks, "signer-2", code="left_in_flight")
    await locks.release(ceremony)
    await locks.settle()
    assert locks.left.problem() is not None
    async with process(signer_database) as other:
        await barred(other, "signer-2", code="left_in_flight")


@pytest.mark.parametrize("code", ["left_in_flight", "banned_counterparty"])
async def test_what_is_settled_while_a_phase_begins_bars_it(
    pool, locks, bans, code: str, monkeypatch
):
    """The rows were read before they were settled, and memory is asked after it has forgotten."""
    ceremony = uuid4()
    locks._settler.cancel()
    async with locks.hold(KEY, ["signer-2"], ceremony):
        pass
    enter = locks._enter

    async def settled_meanwhile(*arguments: Any) -> Any:
        rows = await enter(*arguments)
        if code == "left_in_flight":
            locks.leave(ceremony)
        elif ceremony in locks._ceremonies:
            bans.earn(KEY, "signer-2", REASON, ceremony)
        await locks.settle()
        return rows

    monkeypatch.setattr(locks, "_enter", settled_meanwhile)
    await barred(locks, "signer-2", code=code)


async def test_an_end_without_a_ban_leaves_no_row_whatever_was_raised(pool, locks):
    ceremony = uuid4()
    failure = Failed("ceremony_aborted", "a message was wrong", transient=True)
    with contextlib.suppress(Failed):
        async with locks.hold(KEY, ["signer-2"], ceremony):
            raise failure
    await locks.release(ceremony)
    assert await in_flight(pool) == set()
    await sign(locks, "signer-2")


async def test_whoever_waited_while_a_ban_was_made_is_not_let_in(pool, locks):
    ceremony = uuid4()
    async with locks.hold(KEY, ["signer-2"], ceremony):
        waiting = [asyncio.create_task(barred(locks, "signer-2")) for _ in range(20)]
        await asyncio.sleep(0.05)  # all twenty wait in this process, where no one can see it
        await locks.ban(KEY, "signer-2", REASON, ceremony)
        assert (await banned(pool), await in_flight(pool)) == (["signer-2"], set())
    assert {each.culprits for each in await asyncio.gather(*waiting)} == {("signer-2",)}


async def test_whoever_waited_in_another_process_sees_the_ban_too(
    locks, signer_database, monkeypatch
):
    ceremony = uuid4()
    async with process(signer_database) as elsewhere:
        async with locks.hold(KEY, ["signer-2"], ceremony):
            is_barred = barred_by_another(elsewhere, monkeypatch)
            waiting = asyncio.create_task(barred(elsewhere, "signer-2", "signer-3"))
            async with asyncio.timeout(20):
                await is_barred.wait()
            await locks.ban(KEY, "signer-2", REASON, ceremony)
        assert (await waiting).culprits == ("signer-2",)
    await sign(locks, "signer-3")


async def test_one_whom_the_counterparty_has_banned_is_kept_out_too(pool, locks):
    theirs = SigningKey(Ed25519PrivateKey.generate())
    await Bans(pool, "signer-2", theirs).ban(KEY, ME, "they say so", None)
    await barred(locks, "signer-2")


async def test_sixteen_bans_at_once_are_all_written_over_one_connection(signer_database, pool):
    keys = [uuid4() for _ in range(16)]
    async with process(signer_database, connections=1) as locks, asyncio.timeout(20):
        together = asyncio.Barrier(len(keys))

        async def lied_to(key: UUID) -> None:
            ceremony = uuid4()
            async with locks.hold(key, ["signer-2", "signer-3"], ceremony):
                await together.wait()  # all are in phase 2
                await locks.ban(key, "signer-2", REASON, ceremony)

        await asyncio.gather(*(lied_to(key) for key in keys))
        rows = await pool.rows("SELECT key_id FROM bans")
        assert {row.key_id for row in rows} == set(keys)
        assert await in_flight(pool) == set()


class Cutting(Pool):
    """Cuts a connection at a number of uses: before the statement, or before its answer."""

    def __init__(self, url: str, outage: Outage) -> None:
        super().__init__(url, 4, "cut off")
        self._outage = outage
        self._uses = 0
        self.cuts = dict[int, str]()
        """By the number of the use, from when this was set."""

    def plan(self, cuts: dict[int, str]) -> None:
        self._uses, self.cuts = 0, cuts

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        self._uses += 1
        how = self.cuts.pop(self._uses, None)
        async with super().connection() as connection:
            if how == "before":
                self._outage.cut()
            yield connection
            if how == "after":
                self._outage.cut()
                raise Unavailable("the answer was lost")


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_connection_cut_at_any_statement_leaves_nothing_in_flight(
    signer_database, how, times, number
):
    """A statement is run again once, so the second cut in a row is the one that shows."""
    pool = Cutting(signer_database, Outage(signer_database))
    async with pool:
        bans = Bans(pool, ME, SigningKey(Ed25519PrivateKey.generate()))
        async with BanLocks(pool, ME, bans) as locks:
            await sign(locks, "signer-2")
            await locks.settle()
            pool.plan({number + again: how for again in range(times)})
            assert await attempt(locks, "signer-2", "signer-3") in {None, "database_away"}
            pool.plan({})
            await gone(pool)
            await sign(locks, "signer-2", "signer-3")
            assert await in_flight(pool) == set()
            assert locks.left.problem() is None


async def test_a_row_that_could_not_be_removed_goes_as_soon_as_the_database_is_back(
    pool, locks, signer_database
):
    ceremony = uuid4()
    async with locks.hold(KEY, ["signer-2"], ceremony):
        pass
    with away(signer_database):
        await locks.release(ceremony)  # the ceremony continues
        await barred(locks, "signer-3", code="database_away")
    await gone(pool)
    await sign(locks, "signer-2", "signer-3")


async def test_restarts_of_the_database_under_load_leave_no_pair_barred(
    pool, locks, signer_database
):
    outage, failed = Outage(signer_database), 0
    is_over = asyncio.Event()

    async def load(signer: str) -> None:
        nonlocal failed
        while not is_over.is_set():
            code = await attempt(locks, signer)
            assert code in {None, "database_away"}
            failed += code is not None
            await asyncio.sleep(0.01)

    loads = [asyncio.create_task(load(f"signer-{number}")) for number in (2, 2, 3, 4)]
    for _ in range(3):
        await asyncio.sleep(0.2)  # load, before and during the outage
        await asyncio.to_thread(outage.begin)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(outage.end)
    is_over.set()
    await asyncio.gather(*loads)
    assert failed
    await gone(pool)
    await sign(locks, "signer-2", "signer-3", "signer-4")


async def test_a_ban_earned_while_the_database_is_away_bars_at_once_and_is_written_when_it_is_back(
    pool, locks, bans, signer_database
):
    first, other = uuid4(), uuid4()
    async with locks.hold(KEY, ["signer-2"], first):
        pass
    async with locks.hold(KEY, ["signer-2"], other):
        pass
    with away(signer_database):
        await locks.ban(KEY, "signer-2", REASON, first)
        await locks.release(first)
        await locks.release(other)  # a good end of another does not lift it
        assert bans.earned_among(KEY, ["signer-2", "signer-3"]) == ("signer-2",)
    await gone(pool)
    assert await banned(pool) == ["signer-2"]
    await barred(locks, "signer-2")


@pytest.fixture
def no_ban_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: object) -> AsyncIterator[UUID]:
        raise Unavailable("the table cannot be written")
        yield

    monkeypatch.setattr(Bans, "keep_earned", never)


@pytest.mark.usefixtures("no_ban_is_written")
async def test_a_ban_earned_while_the_database_is_away_keeps_its_row_until_it_is_written(
    pool, locks
):
    ceremony = uuid4()
    async with locks.hold(KEY, ["signer-2"], ceremony):
        await locks.ban(KEY, "signer-2", REASON, ceremony)
    await locks.release(ceremony)
    with contextlib.suppress(Unavailable):
        await locks.settle()
    assert await in_flight(pool) == {(KEY, "signer-2")}


@pytest.mark.usefixtures("no_ban_is_written")
async def test_a_ban_that_is_not_on_disk_yet_keeps_a_pair_out_of_both_phases(locks, bans):
    ceremony = uuid4()
    async with locks.hold(KEY, ["signer-2"], ceremony):
        await locks.ban(KEY, "signer-2", REASON, ceremony)
    await barred(locks, "signer-2", "signer-3")
    assert await bans.among(KEY, ["signer-2", "signer-3"]) == ("signer-2",)
    await sign(locks, "signer-3")


KILLED = """
import asyncio, os, signal, sys
from uuid import UUID, uuid4
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from custody.database.pool import Pool
from mpc.bans.ban_locks import BanLocks
from mpc.bans.bans import Bans
from custody.wire.signed_bytes import SigningKey

async def main(url, key):
    async with Pool(url, 2, "killed") as statements:
        bans = Bans(statements, "signer-1", SigningKey(Ed25519PrivateKey.generate()))
        async with BanLocks(statements, "signer-1", bans) as locks:
            ceremony = uuid4()
            async with locks.hold(UUID(key), ["signer-2"], ceremony):
                print("in phase 2", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await locks.ban(UUID(key), "signer-2", "it lied", ceremony)
            print(bans.earned_among(UUID(key), ["signer-2"]), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_killed_before_it_could_write_a_ban_has_left_its_row(
    pool, locks, signer_database
):
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, signer_database, str(KEY),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    assert killed.stdin is not None
    assert killed.stdout is not None
    assert await killed.stdout.readline() == b"in phase 2\n"
    with away(signer_database):
        killed.stdin.write(b"lie\n")
        async for line in killed.stdout:
            if line == b"('signer-2',)\n":
                break
        assert await killed.wait() == -signal.SIGKILL
    assert await banned(pool) == []
    await barred(locks, "signer-2", code="left_in_flight")
