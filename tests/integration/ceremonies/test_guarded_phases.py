"""Guards 2 and 10 of DKLs23, at a signer whose database, counterparty or task fails."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest

import mpc.handlers.signing
from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.signed_bytes import SignedBytes
from mpc._native import LocalMisuse, Signing
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.lying import Liars, Lie, changed
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import Parties, Party, ended, wanted
from tests.integration.database_outage import Outage, away
from tests.unit.mpc.native.lies import flip

HONEST, LIAR, THIRD = "signer-1", "signer-2", "signer-3"
PAIR = [HONEST, LIAR]
PHASE_2, PHASE_3, PHASE_4 = 1, 2, 3
"""Of the protocol, by the exchange whose messages each takes."""
LIES = {
    PHASE_2: changed("private", flip(-1)),  # a wrong check of the OT extension
    PHASE_3: changed("private", flip(-1)),  # a wrong answer of the multiplication
}


@pytest.fixture
def liars(monkeypatch: pytest.MonkeyPatch) -> Liars:
    return Liars(monkeypatch)


class Phases:
    """Notes the phases as they begin, and does something of the test's first, in their thread."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun: list[tuple[int, int]] = []
        self.first: dict[int, Callable[[], None]] = {}
        """By the phase, at the honest signer."""
        phases = self

        class Noted:
            def __init__(self, share: Any, *arguments: Any) -> None:
                self._session = Signing(share, *arguments)
                self._index, self._numbers = share.index, itertools.count(1)

            def advance(self, incoming: Any) -> Any:
                number = next(self._numbers)
                phases.begun.append((self._index, number))
                if self._index == 1 and number in phases.first:
                    phases.first[number]()
                return self._session.advance(incoming)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._session, name)

        patch.setattr(mpc.handlers.signing, "Signing", Noted)

    async def has_begun(self, index: int, number: int) -> None:
        async with asyncio.timeout(20):
            while (index, number) not in self.begun:  # noqa: ASYNC110 (a thread's doing)
                await asyncio.sleep(0.01)


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> Phases:
    return Phases(monkeypatch)


def rows_on_disk(party: Party) -> int:
    with psycopg.connect(party.database) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM in_flight").fetchall()
    return int(count)


async def bans_of(party: Party) -> list[str]:
    return [ban.banned for ban in await party.bans.all()]


async def nothing_in_flight(party: Party) -> None:
    async with asyncio.timeout(20):
        while await party.rows("SELECT FROM in_flight"):  # noqa: ASYNC110 (PostgreSQL's)
            await asyncio.sleep(0.02)


async def refuses(parties: Parties, key: Key, code: str) -> None:
    """The honest signer does not sign with the liar, and its next messages are not sent."""
    outcomes = await parties.hold(orders.sign(key, PAIR, wanted(key)).until(10))
    assert ended(outcomes[HONEST])[0] == code, outcomes[HONEST]
    assert outcomes[HONEST].transient


async def test_a_row_is_on_disk_from_before_phase_2_until_after_phase_3(with_key, phases):
    parties, key = await with_key(ECDSA_SECP256K1)
    found: dict[int, int] = {}
    for number in (PHASE_2, PHASE_3):
        phases.first[number] = lambda number=number: found.update(
            {number: rows_on_disk(parties[HONEST])}
        )
    await parties.sign(key, PAIR)
    assert found == {PHASE_2: 1, PHASE_3: 1}
    assert await parties[HONEST].rows("SELECT FROM in_flight") == []


async def test_the_answer_of_phase_3_goes_out_while_the_row_does_but_not_the_signature(
    with_key, phases
):
    parties, key = await with_key(ECDSA_SECP256K1)
    phases.begun.clear()  # of the key's own proofs
    honest = parties[HONEST]
    await honest.rows("CREATE FUNCTION hindered() RETURNS trigger LANGUAGE plpgsql AS"
                      " 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN old; END'")  # fmt: skip
    await honest.rows(
        "CREATE TRIGGER leaves BEFORE DELETE ON in_flight FOR EACH ROW EXECUTE FUNCTION hindered()"
    )
    async with await psycopg.AsyncConnection.connect(honest.database) as hindering:
        await hindering.execute("SELECT pg_advisory_xact_lock(1)")
        signing = asyncio.create_task(parties.sign(key, PAIR))
        await phases.has_begun(2, PHASE_4)  # the peer has our answer
        await phases.has_begun(1, PHASE_4)
        await asyncio.sleep(0.2)  # an end, which must not come, shows by nothing else
        assert len(await honest.rows("SELECT FROM in_flight")) == 1
        assert not signing.done()
    await signing
    assert await honest.rows("SELECT FROM in_flight") == []


@pytest.mark.parametrize("number", [PHASE_2, PHASE_3, PHASE_4])
async def test_connections_that_are_cut_in_a_phase_leave_nobody_barred(with_key, phases, number):
    parties, key = await with_key(ECDSA_SECP256K1)
    phases.begun.clear()  # of the key's own proofs
    phases.first[number] = Outage(parties[HONEST].database).cut
    await parties.hold(orders.sign(key, PAIR, wanted(key)).until(10))
    assert (1, number) in phases.begun
    phases.first.clear()
    await nothing_in_flight(parties[HONEST])
    await parties.sign(key, PAIR)


@pytest.mark.parametrize("number", [PHASE_2, PHASE_3])
async def test_a_ban_that_is_earned_while_the_database_is_away_is_not_lost(
    with_key, liars, phases, number
):
    parties, key = await with_key(ECDSA_SECP256K1)
    honest, outage = parties[HONEST], Outage(parties[HONEST].database)
    liars.lies(parties[LIAR], Lie(number, words=LIES[number]))
    phases.first[number] = outage.begin
    lying = asyncio.create_task(parties.hold(orders.sign(key, PAIR, wanted(key)).until(20)))
    try:
        async with asyncio.timeout(20):
            while not honest.bans.earned_among(key.id, PAIR):  # noqa: ASYNC110 (a thread's doing)
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # the ban cannot be written all the while
    finally:
        outage.end()
    assert ended((await lying)[HONEST]) == ("banned_counterparty", (LIAR,))
    await nothing_in_flight(honest)
    assert await bans_of(honest) == [LIAR]
    liars.tells_the_truth(parties[LIAR])
    await refuses(parties, key, "banned_counterparty")


@pytest.mark.parametrize("number", [PHASE_2, PHASE_3])
async def test_whoever_lies_is_banned_though_the_job_was_cancelled_in_the_phase(
    with_key, liars, phases, number
):
    parties, key = await with_key(ECDSA_SECP256K1)
    phases.begun.clear()  # of the key's own proofs
    liars.lies(parties[LIAR], Lie(number, words=LIES[number]))
    is_cancelled = threading.Event()
    phases.first[number] = lambda: is_cancelled.wait(20)
    claimed = parties.control_plane.claimed(orders.sign(key, PAIR, wanted(key)).until(20))
    honest = asyncio.create_task(parties[HONEST].do(claimed))
    lying = asyncio.create_task(parties[LIAR].do(claimed))
    await phases.has_begun(1, number)
    honest.cancel()
    await asyncio.wait([honest], timeout=0.2)
    is_cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await honest
    await nothing_in_flight(parties[HONEST])
    assert await bans_of(parties[HONEST]) == [LIAR]
    lying.cancel()


async def test_a_cancelled_job_leaves_nothing_in_flight_once_its_phase_is_over(with_key, phases):
    parties, key = await with_key(ECDSA_SECP256K1)
    phases.begun.clear()  # of the key's own proofs
    is_cancelled = threading.Event()
    phases.first[PHASE_2] = lambda: is_cancelled.wait(20)
    claimed = parties.control_plane.claimed(orders.sign(key, PAIR, wanted(key)).until(20))
    honest = asyncio.create_task(parties[HONEST].do(claimed))
    other = asyncio.create_task(parties[LIAR].do(claimed))
    await phases.has_begun(1, PHASE_2)
    honest.cancel()
    await asyncio.sleep(0.1)  # an end, which must not come, shows by nothing else
    assert rows_on_disk(parties[HONEST]) == 1  # it is still in the phase
    is_cancelled.set()
    await nothing_in_flight(parties[HONEST])
    other.cancel()
    phases.first.clear()
    await parties.sign(key, PAIR)


async def test_nothing_but_the_hello_is_sent_to_a_banned_signer(with_key, monkeypatch):
    parties, key = await with_key(ECDSA_SECP256K1)
    await parties[HONEST].bans.ban(key.id, LIAR, "it lied before", None)
    sent, hand_in = [], parties[HONEST].delivery.exchange

    async def exchange(
        server: str, ticket: SignedBytes, number: int, said: Mapping[str, bytes], *more: Any
    ) -> Any:
        sent.append(number)
        return await hand_in(server, ticket, number, said, *more)

    monkeypatch.setattr(parties[HONEST].delivery, "exchange", exchange)
    await refuses(parties, key, "banned_counterparty")
    assert sent == [0]


async def test_a_ban_made_between_the_phases_ends_the_ceremony_before_phase_3(
    with_key, phases, monkeypatch
):
    parties, key = await with_key(ECDSA_SECP256K1)
    phases.begun.clear()  # of the key's own proofs
    hand_in = parties[LIAR].delivery.exchange

    async def exchange(
        server: str, ticket: SignedBytes, number: int, said: Mapping[str, bytes], *more: Any
    ) -> Any:
        if number == PHASE_3:  # the honest one has been through phase 2
            await parties[HONEST].bans.ban(key.id, LIAR, "by another of its processes", None)
        return await hand_in(server, ticket, number, said, *more)

    monkeypatch.setattr(parties[LIAR].delivery, "exchange", exchange)
    await refuses(parties, key, "banned_counterparty")
    assert (1, PHASE_2) in phases.begun
    assert (1, PHASE_3) not in phases.begun
    await nothing_in_flight(parties[HONEST])


@pytest.mark.parametrize("number", [PHASE_2, PHASE_3])
async def test_a_recoverable_abort_in_a_phase_bans_nobody_and_leaves_nothing(
    with_key, liars, number
):
    parties, key = await with_key(ECDSA_SECP256K1)
    lie = liars.lies(parties[LIAR], Lie(number, words=changed("private", lambda said: said[:-1])))
    outcomes = await parties.hold(orders.sign(key, PAIR, wanted(key)).until(10))
    assert ended(outcomes[HONEST]) == ("ceremony_aborted", (LIAR,))
    assert lie.told == {HONEST}
    assert await bans_of(parties[HONEST]) == []
    assert await parties[HONEST].rows("SELECT FROM in_flight") == []
    liars.tells_the_truth(parties[LIAR])
    await parties.sign(key, PAIR)


@pytest.mark.parametrize("number", [PHASE_2, PHASE_3])
async def test_a_phase_of_which_nobody_knows_how_it_ended_bars_the_pair(with_key, phases, number):
    parties, key = await with_key(ECDSA_SECP256K1)

    def panics() -> None:
        raise LocalMisuse("a protocol library panicked")

    phases.first[number] = panics
    outcomes = await parties.hold(orders.sign(key, PAIR, wanted(key)).until(10))
    assert ended(outcomes[HONEST])[0] == "protocol_failed"
    phases.first.clear()
    await refuses(parties, key, "left_in_flight")
    assert await bans_of(parties[HONEST]) == []
    await parties.sign(key, [HONEST, THIRD])


async def test_what_a_stop_left_in_flight_bars_the_pair_from_signing_and_refresh_and_is_no_ban(
    with_key,
):
    parties, key = await with_key(ECDSA_SECP256K1)
    await parties[HONEST].rows(
        "INSERT INTO in_flight (key_id, signer, ceremony, process)"
        " VALUES (:key, :signer, gen_random_uuid(), gen_random_uuid())",
        key=key.id,
        signer=LIAR,
    )
    command = f"mpc-signer bans resolve {key.id} {LIAR} --clear"
    for order in (orders.sign(key, PAIR, wanted(key)), orders.refresh(key)):
        outcome = (await parties.hold(order.until(20)))[HONEST]
        assert ended(outcome) == ("left_in_flight", ())
        assert command in (outcome.reason or "")
        assert outcome.transient
    await parties.sign(key, [HONEST, THIRD])


async def test_one_connection_to_its_database_is_enough_for_a_signer(with_key, liars):
    parties, key = await with_key(ECDSA_SECP256K1, connections=1)
    await asyncio.gather(*(parties.sign(key, PAIR) for _ in range(4)))
    liars.lies(parties[LIAR], Lie(PHASE_2, words=LIES[PHASE_2]))
    attempts = [orders.sign(key, PAIR, wanted(key)).until(20) for _ in range(8)]
    outcomes = await asyncio.gather(*(parties.hold(attempt) for attempt in attempts))
    assert "banned_counterparty" in {ended(each[HONEST])[0] for each in outcomes}
    assert await bans_of(parties[HONEST]) == [LIAR]
    assert await parties[HONEST].rows("SELECT FROM in_flight") == []


async def test_a_signers_database_that_is_away_when_it_enters_a_phase_costs_one_attempt(
    with_key, monkeypatch
):
    parties, key = await with_key(ECDSA_SECP256K1)
    hand_in = parties[LIAR].delivery.exchange
    begun = asyncio.Event()

    async def exchange(
        server: str, ticket: SignedBytes, number: int, said: Mapping[str, bytes], *more: Any
    ) -> Any:
        if number == PHASE_2:
            begun.set()
            await asyncio.sleep(0.3)  # the database is away before the message arrives
        return await hand_in(server, ticket, number, said, *more)

    monkeypatch.setattr(parties[LIAR].delivery, "exchange", exchange)
    signing = asyncio.create_task(parties.hold(orders.sign(key, PAIR, wanted(key)).until(20)))
    await begun.wait()
    with away(parties[HONEST].database):
        await asyncio.sleep(3)  # retries, which must not succeed, continue all the while
    assert ended((await signing)[HONEST]) == ("database_away", ())
    await nothing_in_flight(parties[HONEST])
    await parties.sign(key, PAIR)
