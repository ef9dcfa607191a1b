"""The report of `make drill`: build/drill/report.md and report.json."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """The result of one scenario.

    ``seconds_to_recover``: from the loss to the next verified signature. ``lost``: what was lost,
    of everything that applications were told; None if the drill did not compare.
    """

    number: str
    name: str
    title: str
    passed: bool
    seconds: float
    seconds_to_recover: float | None
    checked: str
    lost: list[str] | None
    steps: list[tuple[str, float]]
    error: str | None = None


def write_report(folder: Path, began: datetime, results: Sequence[Result]) -> None:
    """Write both files. They replace those of the last run."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "began": began.isoformat(timespec="seconds"),
        "passed": all(result.passed for result in results),
        "scenarios": [asdict(result) for result in results],
    }
    (folder / "report.json").write_text(json.dumps(document, indent=2) + "\n")
    (folder / "report.md").write_text(_markdown(began, results))


def _markdown(began: datetime, results: Sequence[Result]) -> str:
    failed = sum(not result.passed for result in results)
    verdict = f"{failed} of {len(results)} failed" if failed else f"all {len(results)} passed"
    lines = [
        "# Report of the drills",
        "",
        f"Began {began:%Y-%m-%d %H:%M:%S} UTC; {verdict}.",
        "",
        "The time to recover is from the loss to the next verified signature. A drill compares all",
        "keys, wallets and signatures that applications were told about. Each key signs once more.",
        "",
        "| scenario | | time to recover | what was lost | compared | whole drill |",
        "|---|---|---|---|---|---|",
        *(_row(result) for result in results),
        "",
    ]
    for result in results:
        lines += [f"## {result.number}. {result.title} (`{result.name}`)", ""]
        if result.error is not None:
            lines += ["Failed:", "", *(f"    {line}" for line in result.error.splitlines()), ""]
        lines += [f"- {what}: {seconds:.1f} s" for what, seconds in result.steps]
        lines += [""]
        if result.lost:
            lines += ["Lost:", "", *(f"- {each}" for each in result.lost), ""]
    return "\n".join(lines)


def _row(result: Result) -> str:
    recovery = result.seconds_to_recover
    cells = [
        f"{result.number}. {result.title}",
        "passed" if result.passed else "**failed**",
        "" if recovery is None else f"{recovery:.1f} s",
        loss(result),
        result.checked,
        f"{result.seconds:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


def loss(result: Result) -> str:
    """Return what was lost, in a few words."""
    match result.lost:
        case None:
            return "not compared"
        case []:
            return "nothing"
        case lost:
            return f"{len(lost)}, named below"
