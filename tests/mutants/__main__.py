"""`make mutants`: take each guard out of a copy of the code, and see that a test fails."""

import dataclasses
import sys
from typing import Annotated

import typer

from custody.runtime.console import EXIT_FAILED, Json, err, fail, out, print_json, print_table
from custody.runtime.errors import OperatorError
from tests.mutants.catalogue import select
from tests.mutants.copied_checkout import Broken
from tests.mutants.page import PAGE, page
from tests.mutants.trial import Result, Verdict, try_all


def main(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(help="Numbers of guards or names of mutants; all without any."),
    ] = None,
    as_json: Json = False,
    write_page: Annotated[
        bool, typer.Option("--write-page", help="Write docs/reference/guards.md, and try nothing.")
    ] = False,
) -> None:
    """Take each guard out of a copy of the code, and see that the tests named for it fail.

    The exit code is 1 when a mutant survives or cannot be tried. The lists of guards and mutants
    are in tests/mutants/, the copy and what is built of it in build/mutants/.
    """
    if write_page:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page())
        out.print(f"wrote {PAGE}")
        return
    try:
        mutants = select(wanted or [])
    except ValueError as error:
        fail(OperatorError(str(error), "See docs/reference/guards.md for numbers and names."))
    try:
        verdicts = try_all(mutants, lambda text: err.print(text, markup=False))
    except Broken as error:
        fail(
            OperatorError(
                str(error), "Nothing was tried. Fix this first, or wait for the other run."
            )
        )
    show(verdicts, as_json)
    if any(verdict.result is not Result.CAUGHT for verdict in verdicts):
        sys.exit(EXIT_FAILED)


def show(verdicts: list[Verdict], as_json: bool) -> None:
    if as_json:
        print_json([dataclasses.asdict(verdict) for verdict in verdicts])
        return
    print_table(
        ("mutant", "result", "details"),
        [(one.mutant, one.result.value, one.details) for one in verdicts],
    )
    caught = sum(verdict.result is Result.CAUGHT for verdict in verdicts)
    out.print(f"{caught} of {len(verdicts)} mutants were caught")


typer.run(main)
