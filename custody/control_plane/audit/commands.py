"""The commands `control-plane audit`: what the operators of the control plane did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.control_plane.command_context import audited, settings_of, with_database
from custody.runtime.console import (
    EXIT_COULD_NOT_CHECK,
    EXIT_FAILED,
    Json,
    application,
    err,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.operators import reason_of

if TYPE_CHECKING:
    from custody.control_plane.audit.own_chain import Auditor, OwnChain
    from custody.database.connection import Connection
    from custody.runtime.audit_file import FileVerification

audit_app = application("The audit of what the control plane's operators did.")


File = Annotated[Path | None, typer.Option(help="Check a file of `audit export` instead.")]


@audit_app.command("verify")
def verify(context: typer.Context, file: File = None, as_json: Json = False) -> None:
    """Compare each record of the audit with its chain and head, and the tokens and nodes with them.

    Exit code 0: no finding; 1: findings; 2: the check could not be done.
    """
    with operator_errors(EXIT_COULD_NOT_CHECK):
        found = _verify(context) if file is None else _verify_file(context, file)
    if as_json:
        print_json(vars(found))
    elif found.findings:
        print_table(["record" if file is None else "line", "finding"], found.findings)
    else:
        out.print(f"{found.records} records{_before(found)}: nothing found")
    for note in () if as_json else getattr(found, "notes", ()):
        out.print(note, style="yellow", markup=False)
    if found.findings:
        raise typer.Exit(EXIT_FAILED)


@audit_app.command("export")
def export(
    context: typer.Context,
    to: Annotated[Path, typer.Option(help="Append to this file, after its last record.")],
) -> None:
    """Write the records as JSON lines, with the field names of ECS, and the signed head.

    After a switch of the job-signing key name a new file: the host checks heads of two keys only.
    """
    with operator_errors():
        begin, end = _export(context, to)
    err.print(f"exported {end - begin} records, up to {end}", highlight=False)


@audit_app.command("prune")
def prune(
    context: typer.Context,
    exported: Annotated[Path, typer.Option(help="The file of `audit export`.")],
    keep_days: Annotated[int, typer.Option(min=1, help="Keep the records of so many days.")],
    reason: Annotated[str, typer.Option(help="Who decided, and why. For the audit.")],
) -> None:
    """Delete old records that a file of an export contains.

    First the whole file and the whole audit are verified. The last of the old records stays with
    its signed head, and `audit verify` continues from it.
    """
    with operator_errors():
        deleted = _prune(context, exported, keep_days, reason)
    out.print(f"{deleted} records deleted")


def _before(found: OwnChain | FileVerification) -> str:
    earlier, pruned = getattr(found, "earlier", 0), getattr(found, "pruned", 0)
    said = f", {earlier} of them under an earlier key" if earlier else ""
    return said + (f", {pruned} more were pruned" if pruned else "")


def _verify(context: typer.Context) -> OwnChain:
    from custody.control_plane.audit.own_chain import verify_own_chain

    known = _known_keys(context)

    async def work(connection: Connection) -> OwnChain:
        await connection.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return await verify_own_chain(connection.rows, known)

    return with_database(context, work)


def _verify_file(context: typer.Context, file: Path) -> FileVerification:
    from custody.control_plane.audit.own_chain import MAX_FINDINGS, NAME
    from custody.runtime.audit_file import verify_file
    from custody.wire.signed_bytes import PinnedKeys

    return verify_file(file, PinnedKeys(_known_keys(context)), NAME, MAX_FINDINGS)


def _known_keys(context: typer.Context) -> list[bytes]:
    """Return the current, the previous and the next job-signing key.

    The next one signs the record of the switch, before the switch.
    """
    from custody.control_plane.job_signing_key.files import KeyFiles

    jobs = settings_of(context).jobs
    files = KeyFiles(jobs.signing_key)
    keys = (jobs.signer(), files.load_previous(), files.load_next())
    return [key.public_key for key in keys if key is not None]


def _export(context: typer.Context, to: Path) -> tuple[int, int]:
    from custody.control_plane.audit.own_export import append_to

    async def work(connection: Connection) -> tuple[int, int]:
        return await append_to(connection, to)

    return with_database(context, work)


def _prune(context: typer.Context, exported: Path, keep_days: int, reason: str) -> int:
    from datetime import timedelta

    from custody.control_plane.audit import own_export
    from custody.runtime.audit_file import sync_file

    why = reason_of(reason, "our rules say ten years, ticket 31")
    file, keys = _verify_file(context, exported), _known_keys(context)
    sync_file(exported)

    async def work(connection: Connection, auditor: Auditor) -> int:
        keep = timedelta(days=keep_days)
        return await own_export.prune(connection, auditor, keys, file, keep, why)

    return audited(context, work)
