"""Writes configuration files. A TOML value of the kinds we have is written as JSON writes it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | Path | Sequence[str]
"""Of a table in a table, name it ``outer.inner``."""
Table: TypeAlias = Mapping[str, Value]
Sections: TypeAlias = Mapping[str, Table | Sequence[Table]]
"""By name; a sequence is an array of tables: ``[[name]]``, once for each."""


def write(path: Path, sections: Sections) -> None:
    """Write a TOML file that only this user may read; overwrites."""
    lines = []
    for name, section in sections.items():
        if isinstance(section, Mapping):
            lines += [f"[{name}]", *_lines(section)]
        else:
            for table in section:
                lines += [f"[[{name}]]", *_lines(table)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("\n".join(lines))


def _lines(table: Table) -> list[str]:
    return [*(f"{key} = {_text(value)}" for key, value in table.items()), ""]


def _text(value: Value) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
