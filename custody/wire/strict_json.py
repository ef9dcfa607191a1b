"""Strict parsing of JSON from others: JSON with several possible meanings is refused.

Parsers disagree about repeated fields, about NaN and about half a surrogate pair. So two programs
could read different requests in the same signed bytes. Such JSON is refused before a model reads it
(RFC 8259, sections 4, 6 and 8; RFC 7493, "I-JSON").
"""

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
"""Levels of objects and arrays; the deepest request has 5."""

_OUTSIDE_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"|([\[{])|([\]}])', re.DOTALL)


class NotStrictJson(ValueError):
    """JSON that parsers read differently. ``str()`` gives the reason, without the contents."""


class NotJson(NotStrictJson):
    """The bytes are not JSON."""


def parse_json(content: bytes) -> Any:
    """Return the value of JSON in UTF-8. Raise NotJson or NotStrictJson."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJson("JSON is UTF-8, and this is not") from None
    check_depth(text)
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
    raise NotStrictJson("NaN and Infinity are not numbers in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrictJson("a number is too large")
    return number


def check_depth(text: str) -> None:
    """Raise NotStrictJson for JSON that is nested too deeply, before the parser recurses.

    The parser's own limit is the interpreter's recursion limit. A library may have raised that
    limit so far that the C stack overflows first.
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
    """Raise NotStrictJson for half a surrogate pair: an escape can name one, no encoding can."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotStrictJson("a text has half a surrogate pair") from None
