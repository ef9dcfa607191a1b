"""Checks that unit tests cover the modules that decide, after `make test` has measured them.

A decision is a pure function, so a unit test reaches each of its branches without a database, an
HSM or a socket. Coverage by integration tests does not count here: `make test` calls this module
when it has run tests/unit alone.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coverage import Coverage

from custody.runtime.console import EXIT_FAILED, err, out, print_table

CHECKOUT = Path(__file__).parents[1]
REPORT = CHECKOUT / "build" / "coverage" / "decisions.json"
LEAST = 95.0
"""Per cent of the branches, and of the statements, of each module."""
DECIDING = (
    "custody/node/authentication.py",
    "custody/node/decisions.py",
    "custody/control_plane/jobs/transitions.py",
    "custody/control_plane/conductor/planning/*.py",
)


def modules() -> list[str]:
    """The files that decide. A pattern without a file is a mistake in the list."""
    found = []
    for pattern in DECIDING:
        files = sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob(pattern))
        assert files, f"no file is {pattern}: correct the list in {__file__}"
        found += [file for file in files if (CHECKOUT / file).stat().st_size]
    return found


def per_cent(covered: int, all_of_them: int) -> float:
    return 100.0 * covered / all_of_them if all_of_them else 100.0


def rows(files: Mapping[str, Any], wanted: list[str]) -> Iterator[tuple[str, float, float, str]]:
    """Module, per cent of branches and of statements, and what no test reaches."""
    for name in wanted:
        if name not in files:
            yield name, 0.0, 0.0, "not measured"
            continue
        summary = files[name]["summary"]
        missing = [f"{start}->{end}" for start, end in files[name]["missing_branches"]]
        missing += [str(line) for line in files[name]["missing_lines"]]
        yield (
            name,
            per_cent(summary["covered_branches"], summary["num_branches"]),
            per_cent(summary["covered_lines"], summary["num_statements"]),
            ", ".join(missing),
        )


def main() -> None:
    wanted = modules()
    coverage = Coverage(config_file=CHECKOUT / "pyproject.toml")
    coverage.load()
    coverage.json_report(outfile=str(REPORT), include=wanted)
    found = list(rows(json.loads(REPORT.read_text())["files"], wanted))
    print_table(
        ("decides", "branches %", "statements %", "not reached by tests/unit"),
        [(name, f"{branches:.0f}", f"{lines:.0f}", at) for name, branches, lines, at in found],
    )
    low = [name for name, branches, lines, _ in found if min(branches, lines) < LEAST]
    if low:
        err.print(
            f"Unit tests cover less than {LEAST:.0f} % of: {', '.join(low)}\n"
            "  -> test the branches that the table names, in tests/unit",
            markup=False,
        )
        sys.exit(EXIT_FAILED)
    out.print(f"Unit tests cover at least {LEAST:.0f} % of every module that decides.")


if __name__ == "__main__":
    main()
