"""``pki show``: what a file is, and whether it can be used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from custody.runtime import console

if TYPE_CHECKING:
    from custody.pki.inspection import Shown

Loaded = TypeVar("Loaded")


def show(
    file: Annotated[Path, typer.Argument(help="A certificate, request, CRL or private key, PEM.")],
    ca: Annotated[
        Path | None, typer.Option(help="The roots [default: ca.pem beside the file].")
    ] = None,
    crl: Annotated[
        Path | None, typer.Option(help="The CRLs [default: crl.pem beside the file].")
    ] = None,
    days: Annotated[
        int, typer.Option(min=0, help="Exit with 1 also if fewer days than this are left.")
    ] = 0,
    as_json: console.Json = False,
) -> None:
    """Show what a file is: names, dates, days left, chain to the root, revoked or not.

    Exit code 0: it can be used; 1: it cannot (expired, revoked, unknown to the CRLs, no chain to
    a root, or too few days left); 2: it could not be checked.
    """
    from datetime import UTC, datetime

    from custody.pki.inspection import inspect
    from custody.runtime.revocation import load_crls
    from custody.runtime.tls import load_certificates

    with console.operator_errors(console.EXIT_COULD_NOT_CHECK):
        roots = _load(ca, file.with_name("ca.pem"), load_certificates)
        crls = _load(crl, file.with_name("crl.pem"), load_crls)
        found = inspect(file, roots, crls, datetime.now(UTC), days)
    if as_json:
        console.print_json([each.model_dump(mode="json") for each in found])
    else:
        for each in found:
            (first, *rows) = _rows(each)
            console.print_table(first, rows)
            console.out.print()
    if any(each.problems for each in found):
        sys.exit(console.EXIT_FAILED)


def _load(given: Path | None, beside: Path, load: Callable[[Path], Loaded]) -> Loaded | None:
    if given is not None:
        return load(given)
    return load(beside) if beside.exists() else None


def _rows(found: Shown) -> Iterator[tuple[str, str]]:
    """Yield label and text; the first pair is the head of the table."""
    values = found.model_dump()
    yield values.pop("kind"), str(values.pop("identity", "") or values.get("subject", ""))
    problems = values.pop("problems")
    for name, value in values.items():
        if isinstance(value, tuple):
            shown = ", ".join(value) or "none"
        elif isinstance(value, dict):
            shown = ", ".join(f"{serial} ({why})" for serial, why in value.items()) or "none"
        elif name in ("not_before", "not_after", "this_update", "next_update"):
            shown = f"{value:%Y-%m-%d %H:%M} UTC"
        else:
            shown = "not checked" if value is None else str(value)
        yield name.replace("_", " "), shown
    yield "can be used", "yes" if not problems else f"no: {'; '.join(problems)}"


def add_to(application: typer.Typer) -> None:
    """Add the command of this module."""
    application.command()(show)
