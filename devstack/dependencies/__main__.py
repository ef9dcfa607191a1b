"""`make audit` and `make sbom`."""

import dataclasses
import sys
from typing import Annotated

import typer

from custody.runtime.console import (
    EXIT_COULD_NOT_CHECK,
    EXIT_FAILED,
    Json,
    err,
    fail,
    out,
    print_json,
    print_table,
)
from custody.runtime.errors import OperatorError
from devstack.dependencies import advisories, crates, licences, sbom
from devstack.dependencies.checks import LOCK, Check, Result

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def audit(
    offline: Annotated[
        bool, typer.Option("--offline", help="Leave out the advisories, which need the network.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check licences, sources, duplicates and known vulnerabilities of all dependencies.

    The exit code is 0 if all checks passed, 1 if a check failed, and 2 if none failed but the
    advisories could not be read. With --offline the advisories are not read, and 0 says nothing
    about them.
    """
    checks = [licences.check_licences(LOCK), crates.check_crates()]
    if not offline:
        checks += [advisories.check_python(LOCK), advisories.check_crates()]
    if as_json:
        print_json([dataclasses.asdict(check) | {"result": check.result.value} for check in checks])
    else:
        show(checks)
        if offline:
            out.print("Advisories were NOT CHECKED, because of --offline.")
    sys.exit(exit_code(checks))


def exit_code(checks: list[Check]) -> int:
    results = {check.result for check in checks}
    if Result.FAILED in results:
        return EXIT_FAILED
    return EXIT_COULD_NOT_CHECK if Result.NOT_CHECKED in results else 0


def show(checks: list[Check]) -> None:
    print_table(("check", "result"), [(check.name, check.result.value) for check in checks])
    for check in checks:
        for line in check.details:
            err.print(f"{check.name}: {line}", markup=False, soft_wrap=True)
    if any(check.result is Result.NOT_CHECKED for check in checks):
        err.print(
            "Advisories were NOT CHECKED: a database could not be reached, or did not answer.\n"
            "  -> run `make audit` where the network is open, or say --offline to leave them out"
        )


@app.command("sbom")
def write_sbom() -> None:
    """Write the components of both wheels and of the crate into dist/, as CycloneDX JSON."""
    try:
        for path in sbom.write_lists():
            out.print(f"wrote dist/{path.name}", markup=False)
    except OperatorError as error:
        fail(error)


if __name__ == "__main__":
    app()
