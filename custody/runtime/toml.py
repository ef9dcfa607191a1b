"""The text of new TOML files."""

import json
from pathlib import Path


def quoted(value: str | Path) -> str:
    """Return a TOML basic string. Its escapes are those of JSON."""
    return json.dumps(str(value), ensure_ascii=False)
