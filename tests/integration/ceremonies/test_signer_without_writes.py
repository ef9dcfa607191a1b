"""A signer whose disk is full, or whose database takes no writes, while it is in ceremonies."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from custody.migrations.schema import migrate
from custody.node import journal
from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.requests import SignHash, SignMessage
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.conftest import Templates
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import (
    NAMES,
    Organisation,
    Parties,
    Party,
    check_signature,
    running,
    signature_of,
    wanted,
)
from tests.integration.outages.conftest import SmallDisk, disk, hasty_probes, small_disk
from tests.integration.outages.test_full_disk import cut_off

__all__ = ["disk", "hasty_probes", "small_disk"]

SECONDS = 30
QUORUM = NAMES[:2]
"""The first signer's database is on the small disk."""


@pytest.fixture
async def with_key(
    small_disk: SmallDisk, templates: Templates, organisation: Organisation
) -> AsyncIterator[tuple[Parties, Key]]:
    url = small_disk.create_database()
    migrate("mpc_signer", url)
    _, made = templates.get(None, 3, 3)
    others = templates.copies({name: made[name] for name in NAMES[1:3]})
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(templates.drop, others)
        parties = await stack.enter_async_context(running(organisation, {NAMES[0]: url, **others}))
        for name in NAMES[1:3]:
            public_key = organisation.members[name].identity.public_key
            await parties[NAMES[0]].peers.add(name, public_key)
        yield parties, await parties.make_key(Key(EDDSA_ED25519, 2, NAMES[:3]))


@contextmanager
def full(small_disk: SmallDisk, url: str) -> Iterator[None]:
    small_disk.fill()
    yield
    small_disk.make_room()


@contextmanager
def read_only(small_disk: SmallDisk, url: str) -> Iterator[None]:
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        cut_off(connection)
        yield
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        cut_off(connection)


@pytest.mark.parametrize(
    ("outage", "said"),
    [(full, "disk of the database server is full"), (read_only, "takes no writes")],
)
@pytest.mark.usefixtures("hasty_probes")
async def test_a_signer_holds_its_outcomes_and_signs_nothing_twice(
    with_key: tuple[Parties, Key],
    small_disk: SmallDisk,
    monkeypatch: pytest.MonkeyPatch,
    outage,
    said: str,
):
    monkeypatch.setattr(journal, "LONGEST_PAUSE", 0.1)
    parties, key = with_key
    signer = parties[NAMES[0]]
    health = signer._loop._journal.database
    watching = asyncio.create_task(health.watch())
    requests: dict[UUID, SignHash | SignMessage] = {}
    started: list[tuple[Order, asyncio.Task[dict[str, Outcome]]]] = []

    def begin(order: Order) -> None:
        started.append((order, asyncio.create_task(parties.hold(order))))

    def begin_to_sign() -> None:
        request = wanted(key)
        order = orders.sign(key, QUORUM, request)
        requests[order.job.id] = request
        begin(order)

    with outage(small_disk, signer.database):
        async with asyncio.timeout(SECONDS):
            begin(orders.refresh(key))
            while health.problem() is None:
                begin_to_sign()
                await asyncio.sleep(0.02)
            begin_to_sign()
        assert said in str(health.problem())
        assert await signer.states(key), "reads work all the while"
        assert not started[-1][1].done(), "the signer holds the outcome that it cannot record"
    async with asyncio.timeout(SECONDS):
        held = [(order, await task) for order, task in started]
        while health.problem() is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    for order, outcomes in held:
        for outcome in outcomes.values():
            if outcome.status is OutcomeStatus.DONE and order.job.id in requests:
                check_signature(key, requests[order.job.id], signature_of(outcome))
        await check_outcomes(parties, order, outcomes)
    await parties.sign(key, QUORUM)
    assert "active" in await signer.states(key)
    await check_chain(signer)
    watching.cancel()


async def check_outcomes(parties: Parties, order: Order, outcomes: dict[str, Outcome]) -> None:
    """Each outcome is a result, or a failure that another attempt may correct."""
    for name, outcome in outcomes.items():
        if outcome.status is not OutcomeStatus.DONE:
            assert outcome.transient, outcome
            continue
        again = await parties[name].do(parties.control_plane.claimed(order))
        assert again == outcome, "a repeated job has the recorded outcome"


async def check_chain(signer: Party) -> None:
    """Each job has one final record in a chain without a hole, and nobody is banned."""
    rows = await signer.rows("SELECT sequence, record FROM audit ORDER BY sequence")
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    records = [json.loads(row.record) for row in rows]
    final = Counter(each["job_id"] for each in records if each["status"] == "DONE")
    assert set(final.values()) == {1}
    assert await signer.rows("SELECT FROM bans") == []
