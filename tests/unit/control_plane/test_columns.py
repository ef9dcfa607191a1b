"""The dataclasses whose fields are the parameters of a statement."""

from dataclasses import dataclass, fields

import pytest

from custody.control_plane.columns import columns
from custody.control_plane.conductor import bans, statements
from custody.control_plane.conductor.writing import (
    SharesComing,
    SharesInUse,
    Silence,
    StepEnd,
    Written,
)
from custody.control_plane.jobs import queue_statements
from custody.control_plane.jobs.queue import ChangeRow, NewJob

ANNOUNCING = {"origin", "announce", "jobs_channel", "done_channel", "tasks_channel", "part_size"}
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
    ("statement", "row_type"),
    [
        (queue_statements.ADD, NewJob),
        (queue_statements.WRITE, ChangeRow),
        (queue_statements.WRITE_WITH_KEYS, ChangeRow),
        (statements.END_STEPS, StepEnd),
        (statements.FALL_SILENT, Silence),
        (statements.CORRECT_SHARES, SharesInUse),
        (statements.COME_INTO_USE, SharesComing),
        (bans._KEEP, bans.BanRow),
    ],
)
def test_a_statement_takes_exactly_the_fields_of_its_row(statement, row_type):
    expected = {field.name for field in fields(row_type)}
    assert set(statement.compile().params) - ANNOUNCING == expected


def test_begin_steps_takes_exactly_the_fields_of_its_three_rows():
    taken = set(queue_statements.BEGIN_STEPS.compile().params) - ANNOUNCING
    assert taken == set(Written().begun())
