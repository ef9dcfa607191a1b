"""The site that `make docs` builds has every page."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def pages_of(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from pages_of(inner)


def test_every_page_is_in_the_navigation_once():
    """Decision records are listed on adr/index.md, which is generated."""
    site = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    docs = ROOT / site["project"]["docs_dir"]
    pages = [str(path.relative_to(docs)) for path in docs.rglob("*.md")]
    listed = list(pages_of(site["project"]["nav"]))
    assert sorted(listed) == sorted(
        each for each in pages if not each.startswith("adr/") or each == "adr/index.md"
    )
