"""The list of decision records."""

import re
from pathlib import Path

from devstack.reference.markdown import page, table

FOLDER = Path(__file__).parents[2] / "docs" / "adr"
INTRODUCTION = """\
Each record has one decision, its context and its consequences. A record is not changed later: a new
record replaces it."""
TITLE = re.compile(r"# (\d+)\. (.+)")


def decision_records_page() -> dict[str, str]:
    """Return the page's text by its path under docs/. Raise ValueError for a malformed title."""
    rows = []
    for path in sorted(FOLDER.glob("[0-9]*.md")):
        title = TITLE.match(path.read_text("utf-8"))
        if title is None:
            raise ValueError(f'{path} must begin with "# NUMBER. TITLE"')
        rows.append((title[1], f"[{title[2]}]({path.name})"))
    text = page("Decision records", INTRODUCTION, table(("number", "decision"), rows))
    return {"adr/index.md": text}
