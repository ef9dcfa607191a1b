"""The command `control-plane reconcile`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from custody.control_plane.command_context import settings_of
from custody.runtime.console import (
    EXIT_COULD_NOT_CHECK,
    Json,
    err,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from custody.control_plane.reconcile.holdings import SignerGroup
    from custody.control_plane.reconcile.plan import Difference
    from custody.control_plane.reconcile.reconcile import Reconciled

EXIT_DIFFERENT = 3
MAX_SHOWN = 50
"""Differences in the table; --json has all."""


def reconcile_command(
    context: typer.Context,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply/--dry-run", help="Repair what can be repaired, or only show it (the default)."
        ),
    ] = False,
    application: Annotated[
        str | None,
        typer.Option(help="The application that gets the adopted keys. Nodes do not know it."),
    ] = None,
    key: Annotated[
        list[UUID] | None,
        typer.Option(help="Adopt only this key; may be repeated [default: all unknown keys]."),
    ] = None,
    signer_group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=T:SIGNER,...",
            help="A signer group of your own records that the backup lacks: its name, threshold "
            "and all its signers in order; may be repeated. Keys of other unknown groups are "
            "listed, and not adopted.",
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the inventories of all nodes.")
    ] = 120,
    as_json: Json = False,
) -> None:
    """Compare a restored database with the nodes, and repair it.

    Run it after the control plane's database was restored from a backup, before `serve`: it listens
    at the node API's address itself, gives no jobs, and asks each node for the keys that it holds
    and the outcomes that its journal has. Without --apply it changes nothing.

    With --apply, keys that the database does not know are adopted under their old ids, with wallet,
    address, attestations and external id; outcomes go back to their requests, byte for byte;
    refreshed share sets are noted; and keys that requests have archived at the nodes are archived
    here too. All n signers of a group must attest a key or a set alike. The group is the
    database's, or one that --signer-group names. What it cannot repair stays in the list, with what
    to do.

    Exit codes: 0 nothing differs any more; 1 it could not run; 2 a node did not answer in time;
    3 differences remain.
    """
    import asyncio

    from custody.control_plane.reconcile.reconcile import Options, reconcile
    from custody.database.errors import database_errors

    with operator_errors(), database_errors():
        groups = [_signer_group(text) for text in signer_group or ()]
        options = Options(wait, apply, application, frozenset(key or ()), groups)
        settings = settings_of(context)
        found = asyncio.run(
            reconcile(
                settings,
                options,
                lambda port: err.print(
                    f"waiting up to {wait:g} s for the nodes at port {port}", markup=False
                ),
            )
        )
    if as_json:
        _print_json(found)
    else:
        _print(found, apply)
    if found.not_asked:
        raise typer.Exit(EXIT_COULD_NOT_CHECK)
    if found.differences:
        raise typer.Exit(EXIT_DIFFERENT)


def _signer_group(text: str) -> SignerGroup:
    """Return the group that an option names: NAME=T:SIGNER,... Raise OperatorError."""
    from pydantic import ValidationError

    from custody.control_plane.reconcile.holdings import SignerGroup
    from custody.wire.requests import CreateSignerGroup

    name, _, facts = text.partition("=")
    threshold, _, signers = facts.partition(":")
    try:
        group = CreateSignerGroup(name=name, threshold=int(threshold), signers=signers.split(","))
    except (ValueError, ValidationError):
        raise OperatorError(
            f"{text!r} does not name a signer group",
            "Write name, threshold and signers, as --signer-group two-of-three=2:a,b,c",
        ) from None
    return SignerGroup(group.name, group.threshold, tuple(group.signers))


def _print_json(found: Reconciled) -> None:
    print_json(
        {
            "backed_up_at": found.backed_up_at,
            "answered": found.answered,
            "did_not_answer": found.not_asked,
            "held_back": found.held_back,
            "repaired": [each.shown() for each in found.repaired],
            "differences": [each.shown() for each in found.differences],
            "unlisted": found.unlisted,
            "archived_by_operators": found.stopped_by_operators,
        }
    )


def _print(found: Reconciled, applied: bool) -> None:
    out.print(f"the database's last moment: {found.backed_up_at or 'it is empty'}", markup=False)
    out.print(f"answered: {', '.join(found.answered) or 'no node'}", markup=False)
    if found.not_asked:
        names = ", ".join(found.not_asked)
        out.print(f"did not answer in time, so not compared: {names}", style="red", markup=False)
    if found.held_back:
        out.print(
            f"{found.held_back} outcomes are held back by frozen nodes: unfreeze them, and run "
            "this again",
            style="yellow",
        )
    for title, listed in (("repaired", found.repaired), ("differences", found.differences)):
        if listed:
            out.print()
            _print_differences(title, listed)
    if found.unlisted:
        out.print(f"and {found.unlisted} more requests that are not listed")
    if found.stopped_by_operators:
        out.print(
            f"operators have archived {len(found.stopped_by_operators)} keys on their hosts, which "
            "is never in this database: --json lists them"
        )
    out.print()
    repairable = [each for each in found.differences if each.repair is not None]
    if not found.differences:
        where = " at the nodes that answered" if found.not_asked else ""
        out.print(f"nothing differs{where}")
    elif repairable and not applied:
        out.print(f"nothing was changed; --apply repairs {len(repairable)} of these differences")


def _print_differences(title: str, listed: list[Difference]) -> None:
    counts = Counter(each.kind.value for each in listed)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    out.print(f"{title}: {summary}", style="bold", markup=False)
    print_table(
        ["kind", "key, request or node", "nodes", "what", "to do"],
        [
            [each.kind.value, each.id, " ".join(each.nodes), each.what, each.todo]
            for each in listed[:MAX_SHOWN]
        ],
    )
    if len(listed) > MAX_SHOWN:
        out.print(f"and {len(listed) - MAX_SHOWN} more: --json lists all")
