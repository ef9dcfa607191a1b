"""Run the whole system under load and faults: `python -m devstack.soak`."""

import json
import logging
import shutil
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from custody.runtime.console import err, operator_errors, out, print_table
from custody.runtime.errors import OperatorError
from devstack.interruption import Interrupted, interruptible
from devstack.processes import fork_server
from devstack.soak.judgement import Growth
from devstack.soak.run import Report, soak

SOAK = Path(__file__).resolve().parents[2] / "build" / "soak"
FAULT_SECONDS = 30.0
SHOWN = 20
MEBIBYTE = 2**20


def command(
    minutes: Annotated[
        float, typer.Option(envvar="SOAK_MINUTES", min=0.5, help="Duration of the load.")
    ] = 20.0,
    every: Annotated[
        float, typer.Option(min=5.0, help="Seconds between two faults.")
    ] = FAULT_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Sign at half load in both modes, cause faults, and account for every request.

    Writes build/soak/report.json. The exit code is 1 if something grew, or a request is not right.
    Latency may grow as much as a fixed piece of work that is timed meanwhile: other programs may
    use the machine. The processor time of the daemons may not.
    """
    fork_server.start()
    shutil.rmtree(SOAK, ignore_errors=True)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        report = soak(SOAK / "stack", minutes * 60, every)
    text = json.dumps(report.as_json(), indent=2)
    path = SOAK / "report.json"
    path.write_text(text + "\n")
    if as_json:
        sys.stdout.write(text + "\n")
    else:
        _show(report)
    if not report.passed:
        raise OperatorError(
            "the soak run failed", f"Read {path}, and the logs in {SOAK}/stack/logs."
        )


def _show(report: Report) -> None:
    print_table(
        ("what", "first third", "last third", ""),
        [
            (each.name, *_values(each), "flat" if each.is_flat else "grew")
            for each in report.growths
        ],
    )
    print_table(
        ("mode", "full load a second", "sent", "signed", "failed", "never accepted", "not right"),
        [
            (
                mode,
                f"{report.rates[mode]:.1f}",
                found.sent,
                found.signed,
                ", ".join(f"{count} {code}" for code, count in found.failed.items()) or "0",
                found.never_accepted,
                len(found.problems),
            )
            for mode, found in report.accounts.items()
        ],
    )
    out.print(f"{len(report.faults)} faults")
    accounts = [problem for found in report.accounts.values() for problem in found.problems]
    for problem in [*report.problems, *accounts[:SHOWN]]:
        out.print(f"not right: {problem}", markup=False)


def _values(found: Growth) -> tuple[str, str]:
    first, last = (_value(found.name, value) for value in (found.first, found.last))
    return first, last


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "no sample"
    if name.endswith("memory"):
        return f"{value / MEBIBYTE:.0f} MiB"
    if name.endswith("processor"):
        return f"{value:.2f} cores"
    return f"{value * 1e3:.0f} ms" if name.endswith(("latency", "work")) else f"{value:.0f}"


def main() -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with interruptible(), operator_errors():
            typer.run(command)
    except Interrupted as interrupted:
        err.print(f"{interrupted}: everything was stopped")
        sys.exit(interrupted.exit_code)


if __name__ == "__main__":
    main()
