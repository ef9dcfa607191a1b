"""TOML: read files of others, write new ones."""

import json
import tomllib
from pathlib import Path
from typing import Any


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a TOML text says. Raise tomllib.TOMLDecodeError, a ValueError.

    The parser recurses, so a text with thousands of nested arrays raises RecursionError.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("arrays or tables are nested too deeply") from None


def optional(name: str, value: str | Path | None, example: str | Path) -> str:
    """Return the line of a setting; without a value a comment with the example."""
    return f"# {name} = {quoted(example)}" if value is None else f"{name} = {quoted(value)}"


def quoted(value: str | Path) -> str:
    """Return a TOML basic string. Its escapes are those of JSON."""
    return json.dumps(str(value), ensure_ascii=False)
