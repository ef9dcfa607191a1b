"""The times that pages of docs/ state: `python -m devstack.drills --table` writes them.

A page marks a time by the scenario that measures it: ``7 s<!-- drill: hsm-lost -->``. The day of
the report is marked in the same way: ``27 November 2026<!-- drill -->``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from custody.runtime.errors import OperatorError

TIME = re.compile(r"\d[\d.]* s<!-- drill: ([a-z0-9-]+) -->")
DAY = re.compile(r"\d+ [A-Z][a-z]+ \d{4}<!-- drill -->")
AGAIN = "Run make drill for all scenarios, on an idle machine, then this command again."


@dataclass(frozen=True)
class Measured:
    """The facts of a report. ``seconds``: by scenario, from the loss to the next signature.

    None: the scenario measured no time.
    """

    day: datetime
    seconds: Mapping[str, float | None]


def read_report(path: Path) -> Measured:
    """Read report.json. Raise OperatorError if it is missing, or if a drill failed."""
    try:
        report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise OperatorError(f"there is no report {path}", AGAIN) from None
    failed = [each["name"] for each in report["scenarios"] if not each["passed"]]
    if failed:
        raise OperatorError(f"{path} has drills that failed: {', '.join(failed)}", AGAIN)
    return Measured(
        datetime.fromisoformat(report["began"]),
        {each["name"]: each["seconds_to_recover"] for each in report["scenarios"]},
    )


def marked(text: str) -> set[str]:
    """Return the scenarios whose times a page states."""
    return set(TIME.findall(text))


def with_times(text: str, measured: Measured) -> str:
    """Return a page with the measured times. Raise OperatorError if the report lacks one."""
    missing = sorted(name for name in marked(text) if measured.seconds.get(name) is None)
    if missing:
        raise OperatorError(f"the report has no time for {', '.join(missing)}", AGAIN)

    def time(found: re.Match[str]) -> str:
        seconds = measured.seconds[found[1]] or 0
        return f"{max(1, round(seconds))} s<!-- drill: {found[1]} -->"

    day = f"{measured.day.day} {measured.day:%B %Y}<!-- drill -->"
    return DAY.sub(day, TIME.sub(time, text))


def state_times(docs: Path, report: Path) -> list[Path]:
    """Write the report's times into all pages. Return the pages that changed.

    Raise OperatorError, and then no page is changed.
    """
    measured = read_report(report)
    texts = {path: path.read_text("utf-8") for path in sorted(docs.rglob("*.md"))}
    stated = {path: with_times(text, measured) for path, text in texts.items()}
    changed = [path for path, text in stated.items() if text != texts[path]]
    for path in changed:
        path.write_text(stated[path], "utf-8")
    return changed
