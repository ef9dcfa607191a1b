"""Finds the words that docs/reference/terminology.md forbids: `make lint`."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent
LIST = "docs/reference/terminology.md"
NOT_CHECKED = (LIST, "tests/unit/devstack/test_words.py")
"""Files that name the words to forbid them."""
HEADING = "## Words that we do not write"
WRITTEN = (".py", ".pyi", ".md", ".rs", ".toml", ".sh", ".service")
"""Endings of the names of the files that people read."""
ALLOWED = re.compile(
    r"(?<![\w-])(there[\s#/*]+is[\s#/*]+no|soon[\s#/*]+as[\s#/*]+it[\s#/*]+is|is[\s#/*]+no(?=[\s#/*]+longer))(?![\w-])",
    re.I,
)
"""Plain phrases that have a forbidden word inside."""


class Word(NamedTuple):
    """``advice`` says what to write instead."""

    pattern: re.Pattern[str]
    advice: str


class Finding(NamedTuple):
    """One forbidden word; ``line`` counts from 1."""

    path: str
    line: int
    word: str
    advice: str


def words(page: str) -> list[Word]:
    """Return the table's words: each matches as a whole, in any case, also across two lines."""
    table = page.partition(HEADING)[2]
    found = []
    for forbidden, advice in re.findall(r"^\| ([a-z_*,./ -]+) \| (.+) \|$", table, re.MULTILINE):
        if forbidden == "not":
            continue
        for word in forbidden.split(", "):
            spaced = re.escape(word).replace(r"\*", r"\w*").replace(r"\ ", r"[\s#/*]+")
            found.append(Word(re.compile(rf"(?<![\w-]){spaced}(?![\w-])", re.IGNORECASE), advice))
    return found


def findings(path: str, text: str, forbidden: list[Word]) -> Iterator[Finding]:
    """Yield every forbidden word of a text, with the line where it begins."""
    plain = {match.end() for match in ALLOWED.finditer(text)}
    for pattern, advice in forbidden:
        for match in pattern.finditer(text):
            if match.end() in plain:
                continue
            line = text.count("\n", 0, match.start()) + 1
            yield Finding(path, line, re.sub(r"[\s#/*]+", " ", match[0]), advice)


def main() -> int:
    """Print every finding. Return 1 if there is one, otherwise 0."""
    forbidden = words((CHECKOUT / LIST).read_text())
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True, text=True
    )
    names = set(tracked.stdout.split("\0")) - set(NOT_CHECKED)
    found = [
        each
        for name in names
        if name.endswith(WRITTEN)
        for each in findings(name, (CHECKOUT / name).read_text(), forbidden)
    ]
    for each in sorted(found):
        sys.stdout.write(f"{each.path}:{each.line}: {each.word!r}: write {each.advice}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
