"""Rows as the arrays that a statement takes. Pure."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

Row = TypeVar("Row")

Columns = dict[str, list[Any]]


def columns(row_type: type[Row], rows: Sequence[Row], prefix: str = "") -> Columns:
    """Return one array for each field of a dataclass, in the order of the rows.

    The name of an array is ``prefix`` and the name of the field. No rows give empty arrays.
    """
    names = [field.name for field in fields(row_type)]  # type: ignore[arg-type]  # a dataclass
    return {prefix + name: [getattr(row, name) for row in rows] for name in names}
