"""Writes configuration files. JSON and TOML write the values of these files in the same way."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | Path | Sequence[str]
"""The keys of a table. The name of a table within a table is ``outer.inner``."""
Table: TypeAlias = Mapping[str, Value]
Sections: TypeAlias = Mapping[str, Table | Sequence[Table]]
"""Tables by name. A sequence is an array of tables: it is written as ``[[name]]`` for each."""


def write(path: Path, sections: Sections) -> None:
    """Write a TOML file that only this user may read. Overwrite an existing file."""
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
