"""Lists as PostgreSQL's arrays: a statement takes its batch as many arrays, mostly of one element.

psycopg looks up a dumper for each list's elements, and has it quote each of them. That takes five
times as long as the text itself does; its type the server knows from the statement.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg import DataError
from psycopg.adapt import Dumper


def _quoted(text: str) -> str:
    """An element of any content (PostgreSQL, section 8.15.6). Raises DataError for a NUL."""
    if "\0" in text:
        raise DataError("PostgreSQL's text cannot hold the character NUL")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_WRITE: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "NULL",
    bool: lambda value: "t" if value else "f",
    bytes: lambda value: '"\\\\x' + value.hex() + '"',
    datetime: lambda value: _quoted(value.isoformat()),
    float: repr,
    int: str,
    str: _quoted,
    UUID: str,
}


class ArrayDumper(Dumper):
    """A list of one dimension, as text whose type the statement says: ``%(ids)s::uuid[]``."""

    def dump(self, value: list[Any]) -> bytes:
        """Raises TypeError for elements of a type that it does not know."""
        return ("{" + ",".join(map(_element, value)) + "}").encode()


def _element(value: Any) -> str:
    write = _WRITE.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, StrEnum):
        return _quoted(value.value)
    raise TypeError(f"no array has elements of type {type(value).__name__}")
