"""Writes configuration files. A TOML value of the kinds we have is written as JSON writes it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | Path | Sequence[str]
Sections: TypeAlias = Mapping[str, Mapping[str, Value]]


def write(path: Path, sections: Sections) -> None:
    """Write a TOML file that only this user may read; overwrites."""
    lines = []
    for name, section in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_text(value)}" for key, value in section.items()]
        lines.append("")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("\n".join(lines))


def _text(value: Value) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
