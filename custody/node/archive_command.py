"""`archive` and `unarchive`: an operator stops a key on the host, without the control plane.

`archivals` lists what is archived.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from custody.node.archivals_command import add_archivals_command
from custody.node.archived_sql import ROOT
from custody.runtime.console import operator_errors, out
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from custody.database.connection import Connection
    from custody.node.archivals import KeyPlace
    from custody.node.audit import AuditRecord
    from custody.node.settings import NodeSettings

KeyId = Annotated[UUID, typer.Argument(help="The key's id.")]
RootId = Annotated[UUID, typer.Argument(help="The key's id; for a derived key the root's id.")]
Reason = Annotated[str, typer.Option(help="What happened and who decided, for the audit.")]
Path = Annotated[str, typer.Option(help="Of a derived key: its path from the root, as m/0/5.")]
EXAMPLE = "its wallet is retired, ticket 4711"


def add_archive_commands(
    app: typer.Typer,
    settings_of: Callable[[typer.Context], NodeSettings],
    *,
    known: str,
    group: str,
    has_children: bool,
) -> None:
    """Add the commands. ``known``: SQL that returns a row if the node has the key ``:key_id``.

    ``group``: the commands about the node's keys, as `hsm-driver keys`.
    """

    def change(
        context: typer.Context, key_id: UUID, path: str, reason: str, *, is_archived: bool
    ) -> None:
        with operator_errors():
            why = reason_of(reason, EXAMPLE)
            settings = settings_of(context)
            _change(settings, known, group, key_id, path, why, is_archived=is_archived)
        which = f"{key_id}" if path == ROOT else f"{key_id} {path}"
        out.print(f"{'archived' if is_archived else 'un-archived'} {which}", markup=False)

    add_archivals_command(app, settings_of)
    if not has_children:

        @app.command()
        def archive(context: typer.Context, key_id: KeyId, reason: Reason) -> None:
            """Sign nothing with a key until `unarchive`.

            It takes effect at once, also on a running node and on each node with this database. No
            request can undo it. The control plane is not told: it shows rejected signatures.
            """
            change(context, key_id, ROOT, reason, is_archived=True)

        @app.command()
        def unarchive(context: typer.Context, key_id: KeyId, reason: Reason) -> None:
            """Undo `archive`. What a request has archived, only a request un-archives."""
            change(context, key_id, ROOT, reason, is_archived=False)

        return

    @app.command("archive")
    def archive_child(
        context: typer.Context, key_id: RootId, reason: Reason, path: Path = ROOT
    ) -> None:
        """Sign nothing here with a key, nor with keys derived from it, until `unarchive`.

        It takes effect at once, also on a running signer. No request can undo it. The control plane
        is not told: it lets other signers sign while enough are left.
        """
        change(context, key_id, path, reason, is_archived=True)

    @app.command("unarchive")
    def unarchive_child(
        context: typer.Context, key_id: RootId, reason: Reason, path: Path = ROOT
    ) -> None:
        """Undo `archive`. What a request has archived, only a request un-archives."""
        change(context, key_id, path, reason, is_archived=False)


def _change(
    settings: NodeSettings,
    known: str,
    group: str,
    key_id: UUID,
    path: str,
    reason: str,
    *,
    is_archived: bool,
) -> None:
    import asyncio

    from custody.node.archivals import KeyPlace

    place = KeyPlace(key_id, _path(path))
    asyncio.run(_commit(settings, known, group, place, reason, is_archived=is_archived))


def _path(text: str) -> str:
    from custody.wire.derivation import format_path, parse_path

    try:
        return ROOT if text == ROOT else format_path(parse_path(text))
    except ValueError as error:
        raise OperatorError(str(error), "Name the path that the API shows, as m/0/5.") from None


async def _commit(
    settings: NodeSettings,
    known: str,
    group: str,
    place: KeyPlace,
    reason: str,
    *,
    is_archived: bool,
) -> None:
    from custody.node.archivals import (
        ChangedBy,
        changes_of,
        last_change,
        row_of_operator,
    )
    from custody.node.audited_archivals import record_by_operator
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database

    async def work(connection: Connection) -> Sequence[AuditRecord]:
        if not await connection.rows(known, {"key_id": place.root_id}):
            raise OperatorError(f"this node has no key {place.root_id}", f"See: {group} list")
        changes = await changes_of(connection.rows, place)
        last = last_change(changes, ChangedBy.OPERATOR)
        if (last is not None and last.is_archived) is is_archived:
            raise _nothing_to_do(group, is_archived=is_archived)
        number = 1 if last is None else last.number + 1
        operator = operator_name()
        row = row_of_operator(place, number, operator, reason, is_archived=is_archived)
        await connection.rows(row.sql, row.alone)
        return [record_by_operator(place, number, operator, reason, is_archived=is_archived)]

    async with open_database(settings) as database:
        await AuditedChanges(database, settings.node.id).change(work)


def _nothing_to_do(group: str, *, is_archived: bool) -> OperatorError:
    if is_archived:
        return OperatorError("an operator has archived this key already", "Nothing is left to do.")
    return OperatorError(
        "no operator has archived this key here",
        f"See what is archived: {group} archivals. What a request has archived, "
        "the application un-archives: docs/how-to/archive-a-key.md.",
    )
