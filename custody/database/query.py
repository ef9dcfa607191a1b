"""SQL text with named parameters, in the form that PostgreSQL takes: $1, $2, ..."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"""
    (?P<skipped>
        '(?:[^']|'')*'      # a string
      | "(?:[^"]|"")*"      # a quoted name
      | --[^\n]*            # a comment
      | /\*.*?\*/           # a comment
      | ::                  # a cast
    )
  | :(?P<name>[a-z_][a-z0-9_]*)
    """,
    re.VERBOSE | re.DOTALL,
)


class Query:
    """One SQL statement with parameters written as ``:name``.

    A name may appear several times. Strings, quoted names, comments and casts (``::``) are left
    unchanged.
    """

    def __init__(self, text: str) -> None:
        self.names: tuple[str, ...]
        """The parameters, in the order of their numbers."""
        numbers: dict[str, int] = {}

        def numbered(match: re.Match[str]) -> str:
            if match["name"] is None:
                return match[0]
            return f"${numbers.setdefault(match['name'], len(numbers) + 1)}"

        self.text = _TOKEN.sub(numbered, text)
        self.names = tuple(numbers)

    def bind(self, parameters: Mapping[str, Any] | None) -> tuple[Any, ...]:
        """Return the values in the order of their numbers. Raise KeyError for a missing value."""
        if not self.names:
            return ()
        values = parameters or {}
        return tuple(values[name] for name in self.names)

    def __repr__(self) -> str:
        """Show the text without values."""
        return f"Query({' '.join(self.text.split())!r})"


@lru_cache(maxsize=1024)
def parsed(text: str) -> Query:
    """Return the Query of a text. Each text is parsed once."""
    return Query(text)
