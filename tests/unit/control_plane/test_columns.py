"""The dataclasses whose fields are the parameters of SQL."""

from dataclasses import dataclass, fields

import pytest

from custody.control_plane.columns import columns
from custody.control_plane.conductor import bans, queries
from custody.control_plane.conductor.writing import (
    SharesComing,
    SharesInUse,
    Silence,
    StepEnd,
    Written,
)
from custody.control_plane.jobs import queries as queue_queries
from custody.control_plane.jobs.queue import ChangeRow, NewJob
from custody.control_plane.resources import creation, key_rows
from custody.database.query import Query

ANNOUNCING = {"origin", "announce"}
"""Parameters that do not come from a row."""


@dataclass(frozen=True)
class Point:
    x: int
    y: str


def test_each_field_is_an_array_in_the_order_of_the_rows():
    assert columns(Point, [Point(1, "a"), Point(2, "b")]) == {"x": [1, 2], "y": ["a", "b"]}


def test_no_rows_give_an_empty_array_for_each_field():
    assert columns(Point, [], "point_") == {"point_x": [], "point_y": []}


@pytest.mark.parametrize(
    ("sql", "row_type"),
    [
        (queue_queries.ADD, NewJob),
        (queue_queries.WRITE, ChangeRow),
        (queue_queries.WRITE_WITH_KEYS, ChangeRow),
        (queries.END_STEPS, StepEnd),
        (queries.FALL_SILENT, Silence),
        (queries.CORRECT_SHARES, SharesInUse),
        (queries.COME_INTO_USE, SharesComing),
        (bans._KEEP, bans.BanRow),
        (creation._ADD_KEYS, key_rows.KeyRow),
        (creation._ADD_WALLETS, key_rows.WalletRow),
    ],
)
def test_sql_takes_exactly_the_fields_of_its_row(sql, row_type):
    expected = {field.name for field in fields(row_type)}
    assert set(Query(sql).names) - ANNOUNCING == expected


def test_begin_steps_takes_exactly_the_fields_of_its_three_rows():
    taken = set(Query(queue_queries.BEGIN_STEPS).names) - ANNOUNCING
    assert taken == set(Written().begun())
