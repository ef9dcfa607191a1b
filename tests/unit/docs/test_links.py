"""Every link between pages, and every page that the source names, leads somewhere."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
NAMED_PAGE = re.compile(r"docs/(?!source\b)[\w./-]*\.md")


def without_code(text: str) -> str:
    return re.sub(r"(?ms)^ *```.*?^ *```", "", text)


@cache
def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as the site and GitHub both make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", without_code(page.read_text("utf-8")))
    return {re.sub(r"[^\w -]", "", each.lower()).strip().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_page_and_a_heading(page: Path):
    broken = []
    text = re.sub(r"`[^`\n]*`", "", without_code(page.read_text("utf-8")))
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        is_there = linked.exists() and (not anchor or anchor in anchors_of(linked))
        if not is_there or not (page == README or linked.is_relative_to(ROOT / "docs")):
            broken.append(target)
    assert not broken


def test_no_page_has_two_headings_with_one_anchor():
    """The site and GitHub number repeated anchors differently."""
    for page in PAGES:
        headings = re.findall(r"(?m)^#+ (.+)$", without_code(page.read_text("utf-8")))
        assert len(headings) == len(anchors_of(page)), page


def test_every_page_that_the_source_names_exists():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True)
    named = {
        (name, page)
        for name in listed.stdout.decode().splitlines()
        if Path(name).suffix in {".py", ".pyi", ".rs", ".toml", ".md", ".sh", ".service", ".yml"}
        and (ROOT / name).is_file()
        for page in NAMED_PAGE.findall((ROOT / name).read_text("utf-8"))
    }
    assert {(name, page) for name, page in named if not (ROOT / page).exists()} == set()
