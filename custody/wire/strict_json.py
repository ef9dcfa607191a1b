"""JSON from others, at every border: one meaning, or none.

Parsers disagree about an object that has a field twice, about NaN and about half a surrogate pair,
so two programs could read two requests in the same signed bytes. Such JSON is refused before any
model reads it (RFC 8259, sections 4, 6 and 8; RFC 7493, "I-JSON").
"""

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
"""Levels of objects and arrays; the deepest request has 5."""

_OUTSIDE_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"|([\[{])|([\]}])', re.DOTALL)


class NotStrictJson(ValueError):
    """JSON that not everybody reads alike. ``str()`` says why, and nothing of what it says."""


class NotJson(NotStrictJson):
    """No JSON at all."""


def parse_json(content: bytes) -> Any:
    """Return the value of JSON in UTF-8. Raises NotJson and NotStrictJson."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJson("JSON is UTF-8, and this is not") from None
    _check_depth(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_once_each, parse_constant=_refuse, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except NotStrictJson:
        raise
    except ValueError:
        raise NotStrictJson("a number has too many digits") from None
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("an object has a field twice")
    return found


def _refuse(_: str) -> NoReturn:
    raise NotStrictJson("NaN and Infinity are no numbers of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrictJson("a number is too large")
    return number


def _check_depth(text: str) -> None:
    """Raise NotStrictJson for what is nested too deeply, before the parser recurses into it.

    The parser's own limit is the interpreter's, which any library of the process may have raised
    so far that the C stack overflows first.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _OUTSIDE_TEXTS.finditer(text):
        begins, ends = found.groups()
        depth += bool(begins) - bool(ends)
        if depth > MAX_DEPTH:
            raise NotStrictJson(f"objects and arrays are nested more than {MAX_DEPTH} levels deep")


def _check_surrogates(value: Any) -> None:
    """An escape can name half a pair, which is not a character and cannot be encoded."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotStrictJson("a text has half a surrogate pair") from None
