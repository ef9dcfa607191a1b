"""Carry out scenarios of loss on throw-away parts: `python -m devstack.drills [NAME...]`."""

import io
import logging
import multiprocessing
import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from custody.client import CustodyError
from custody.runtime.console import application, err, operator_errors, out, print_table
from custody.runtime.errors import OperatorError
from devstack.drills.drill import Drill, DrillFailed
from devstack.drills.report import Result, loss, write_report
from devstack.drills.scenario import Scenario, find_scenarios, longest_first, select
from devstack.drills.stated_times import state_times
from devstack.interruption import Interrupted, interruptible
from devstack.processes import fork_server
from devstack.progress import say
from devstack.verification import NotVerified

CHECKOUT = Path(__file__).resolve().parents[2]
DRILL = CHECKOUT / "build" / "drill"
DOCS = CHECKOUT / "docs"

app = application("Lose a part for real, bring it back, and compare everything that was told.")


@app.command()
def drill(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Scenarios; none: all.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the scenarios and end.")] = False,
    table: Annotated[
        bool,
        typer.Option("--table", help="Write the last report's times into the pages of docs/."),
    ] = False,
    at_once: Annotated[
        int, typer.Option(min=1, help="Scenarios at the same time; the measured times are longer.")
    ] = 1,
) -> None:
    """Carry out scenarios, and write build/drill/report.md and report.json.

    The exit code is 1 if a scenario failed. The others are still carried out.
    """
    if table:
        changed = state_times(DOCS, DRILL / "report.json")
        say(f"{len(changed)} pages changed: {', '.join(path.name for path in changed)}")
        return
    found = find_scenarios()
    if show:
        rows = [(each.number, name, each.title) for name, each in found.items()]
        print_table(("", "scenario", "what is lost"), rows)
        return
    chosen = select(found, names or [])
    fork_server.start()
    began = datetime.now(UTC)
    shutil.rmtree(DRILL, ignore_errors=True)
    results = _carry_out_all(chosen, at_once)
    write_report(DRILL, began, results)
    _show(results)
    failed = [result.name for result in results if not result.passed]
    if failed:
        raise OperatorError(
            f"these drills failed: {', '.join(failed)}",
            f"Read {DRILL / 'report.md'}, and the logs in {DRILL}/{failed[0]}.",
        )


def _carry_out_all(chosen: Mapping[str, Scenario], at_once: int) -> list[Result]:
    if at_once == 1:
        return [_carry_out(name, scenario) for name, scenario in chosen.items()]
    results = []
    context = multiprocessing.get_context("fork")  # so that all share the fork server
    with ProcessPoolExecutor(at_once, context) as pool:
        try:
            begun = {
                name: pool.submit(_carry_out_unseen, name, chosen[name])
                for name in longest_first(chosen)
            }
            for name in chosen:
                result, shown = begun[name].result()
                sys.stdout.write(shown)
                sys.stdout.flush()
                results.append(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # each stops everything that it has started
            raise
    return results


def _carry_out_unseen(name: str, scenario: Scenario) -> tuple[Result, str]:
    """Carry out a scenario. Return what it would show, because others are carried out beside it."""
    with redirect_stdout(io.StringIO()) as shown:
        result = _carry_out(name, scenario)
    return result, shown.getvalue()


def _carry_out(name: str, scenario: Scenario) -> Result:
    say(f"\n[bold]{scenario.number}. {scenario.title}[/] ({name})")
    began, drill, error = time.monotonic(), Drill(DRILL / name), None
    drill.folder.mkdir(parents=True)
    try:
        scenario.run(drill)
        if drill.lost is None:
            raise DrillFailed("the scenario did not say what was lost")
    except (DrillFailed, OperatorError, CustodyError, NotVerified) as failure:
        error = f"{type(failure).__name__}: {failure}"
        out.print("  failed", style="red", end=" ")
        out.print(str(error), markup=False, highlight=False)
    return Result(
        number=scenario.number,
        name=name,
        title=scenario.title,
        passed=error is None,
        seconds=time.monotonic() - began,
        seconds_to_recover=drill.seconds_to_recover,
        checked=drill.checked,
        lost=drill.lost,
        steps=drill.steps,
        error=error,
    )


def _show(results: list[Result]) -> None:
    say("")
    print_table(
        ("scenario", "", "recovered after", "lost", "compared", "took"),
        [
            (
                f"{each.number}. {each.title}",
                "passed" if each.passed else "failed",
                "" if each.seconds_to_recover is None else f"{each.seconds_to_recover:.1f} s",
                loss(each),
                each.checked,
                f"{each.seconds:.0f} s",
            )
            for each in results
        ],
    )
    say(f"\nWritten: {DRILL / 'report.md'} and report.json")


def main() -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with interruptible(), operator_errors():
            app()
    except Interrupted as interrupted:
        err.print(f"{interrupted}: everything was stopped")
        sys.exit(interrupted.exit_code)


if __name__ == "__main__":
    main()
