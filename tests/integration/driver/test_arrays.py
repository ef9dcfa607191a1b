"""What a batch's arrays hold arrives at PostgreSQL as it was, whatever characters are in it."""

import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import psycopg
import pytest

from custody.database.statements import Statements
from custody.wire.outcomes import OutcomeStatus

_CHANCE = random.Random(20)
_CHARACTERS = [chr(each) for each in (*range(1, 0x250), *range(0x2000, 0x2100), 0x1D11E)]


def _text() -> str:
    return "".join(_CHANCE.choices(_CHARACTERS, k=_CHANCE.randrange(12)))


ELEMENTS: dict[str, Callable[[], object]] = {
    "varchar": _text,
    "bytea": lambda: _CHANCE.randbytes(_CHANCE.randrange(40)),
    "uuid": lambda: UUID(bytes=_CHANCE.randbytes(16)),
    "bigint": lambda: _CHANCE.randrange(-(2**63), 2**63),
    "float8": lambda: _CHANCE.uniform(-1, 1) * 10.0 ** _CHANCE.randrange(-300, 300),
    "boolean": lambda: _CHANCE.random() < 0.5,
    "timestamptz": lambda: datetime.fromtimestamp(_CHANCE.uniform(0, 4e9), UTC),
}
AWKWARD = ["", "NULL", '"', "\\", "{}", "a,b", " ", "'", "\\x00", "ä€𝄞", "\n\t", '\\"', "}"]


@pytest.fixture
async def statements(driver_database: str) -> AsyncIterator[Statements]:
    async with Statements(driver_database, 2, "test") as statements:
        yield statements


@pytest.mark.parametrize("kind", ELEMENTS)
async def test_elements_of_every_type_arrive_as_they_are(statements, kind):
    for size in (0, 1, 200):
        values = [None, *(ELEMENTS[kind]() for _ in range(size))]
        (row,) = await statements.rows(f"SELECT %(it)s::{kind}[] AS it", {"it": values})
        assert row.it == values


async def test_characters_that_mean_something_in_an_array_mean_themselves(statements):
    (row,) = await statements.rows("SELECT %(it)s::varchar[] AS it", {"it": AWKWARD})
    assert row.it == AWKWARD
    for each in AWKWARD:
        (row,) = await statements.rows("SELECT %(it)s::varchar[] AS it", {"it": [each]})
        assert row.it == [each]


async def test_a_time_elsewhere_is_the_same_moment(statements):
    there = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))
    (row,) = await statements.rows("SELECT %(it)s::timestamptz[] AS it", {"it": [there]})
    assert row.it == [there]


async def test_an_enumeration_is_its_value_and_an_empty_batch_is_empty(statements):
    (row,) = await statements.rows(
        "SELECT %(words)s::varchar[] AS words, %(ids)s::uuid[] AS ids",
        {"words": [OutcomeStatus.DONE], "ids": []},
    )
    assert (row.words, row.ids) == (["DONE"], [])


async def test_what_an_array_cannot_hold_is_refused_and_the_connection_goes_on(statements):
    with pytest.raises(psycopg.DataError, match="NUL"):
        await statements.rows("SELECT %(it)s::varchar[]", {"it": ["a\0b"]})
    for element in ([1], {"a": 1}, object()):
        with pytest.raises(TypeError):
            await statements.rows("SELECT %(it)s::varchar[]", {"it": [element]})
    (row,) = await statements.rows("SELECT %(it)s::uuid[] AS it", {"it": [UUID(int=1)]})
    assert row.it == [UUID(int=1)]
