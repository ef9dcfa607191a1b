"""`audit`: the chain of what this node decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.runtime.console import (
    EXIT_COULD_NOT_CHECK,
    EXIT_FAILED,
    Json,
    operator_errors,
    out,
    print_json,
    print_table,
    printable,
)
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name, reason_of

if TYPE_CHECKING:
    from custody.node.audit_records import Gap, Kept
    from custody.node.chain_verification import KeyCheck, Verification
    from custody.node.settings import NodeSettings


SettingsOf = Callable[[typer.Context], "NodeSettings"]
Other = Annotated[
    list[str] | None,
    typer.Option(help="Another node of this database, which may have adopted keys; repeatable."),
]


def application(settings_of: SettingsOf, key_check: Callable[[], KeyCheck]) -> typer.Typer:
    """Return the commands. ``settings_of`` reads the settings from the caller's context."""
    app = new_application("The hash chain of this node's decisions and results.")
    _add_verify(app, settings_of, key_check)
    _add_export(app, settings_of)
    _add_prune(app, settings_of, key_check)
    _add_restored(app, settings_of)
    return app


def _add_verify(
    app: typer.Typer, settings_of: SettingsOf, key_check: Callable[[], KeyCheck]
) -> None:
    @app.command()
    def verify(
        context: typer.Context,
        offline: Annotated[
            bool,
            typer.Option(
                help="Do not compare the chain with the heads that the control plane keeps."
            ),
        ] = False,
        file: Annotated[
            Path | None,
            typer.Option(help="Check a file that `audit export` wrote, instead of the database."),
        ] = None,
        other: Other = None,
        as_json: Json = False,
    ) -> None:
        """Compare every record with its chain, the kept heads, the journal and the stored keys.

        Finds changed, missing and malformed records, a recomputed chain and a chain whose end was
        removed. Finds outcomes that the journal lacks or has twice, and keys that are missing.
        Finds master keys and restored keys in the database that no record says who added.
        Shows an acknowledged restore as a gap. A record in the chain of another node counts only
        for a node that --other names; run this command there as well.

        With --file only the file is read: its hashes, and the heads that this node has signed.

        Exit code 0: no finding; 1: findings; 2: the check could not be done.
        """
        import asyncio

        from custody.node.audit_report import document, show

        if file is not None:
            _verify_file(context, settings_of, file, as_json)
            return
        with operator_errors(EXIT_COULD_NOT_CHECK):
            found = asyncio.run(_verify(settings_of(context), key_check(), offline, other or []))
        if as_json:
            print_json(document(found))
        else:
            show(found, offline)
        if found.findings:
            raise typer.Exit(EXIT_FAILED)


def _add_export(app: typer.Typer, settings_of: SettingsOf) -> None:
    @app.command()
    def export(
        context: typer.Context,
        to: Annotated[
            Path | None,
            typer.Option(help="Append to this file, after its last record [default: stdout]."),
        ] = None,
        syslog: Annotated[
            str | None,
            typer.Option(help="Send to udp://HOST:PORT, tcp://HOST:PORT or unix:///SOCKET."),
        ] = None,
        after: Annotated[
            int, typer.Option(min=0, help="Begin after the record of this number. Not with --to.")
        ] = 0,
        follow: Annotated[
            bool, typer.Option("--follow", help="Continue with new records until interrupted.")
        ] = False,
        offline: Annotated[
            bool, typer.Option(help="Export without the heads that the control plane keeps.")
        ] = False,
    ) -> None:
        """Write the audit records of this node as JSON lines, with the field names of ECS.

        Each line has the record's exact bytes and its hash, and the signed head ends the export:
        `audit verify --file` checks a file without the database. The last line of stderr says
        after which record the next export begins.

        Before the node signs a head, the command checks each exported record's number and hash, and
        compares the records with the heads that the control plane keeps.
        """
        import asyncio

        from custody.node.audit_export_command import Target, export_records

        with operator_errors():
            target = Target(to, syslog, after)
            settings = settings_of(context)
            kept = None if offline else asyncio.run(_kept(settings))
            asyncio.run(export_records(settings, target, follow, kept))


def _add_prune(
    app: typer.Typer, settings_of: SettingsOf, key_check: Callable[[], KeyCheck]
) -> None:
    @app.command()
    def prune(
        context: typer.Context,
        exported: Annotated[
            Path, typer.Option(help="The file of `audit export` that has the records.")
        ],
        reason: Annotated[str, typer.Option(help="Who decided, and why. For the audit.")],
        keep_days: Annotated[
            int | None,
            typer.Option(help="Keep the records of so many days [default: as the journal]."),
        ] = None,
        offline: Annotated[
            bool, typer.Option(help="Verify without the heads that the control plane keeps.")
        ] = False,
        other: Other = None,
        as_json: Json = False,
    ) -> None:
        """Delete old records of signatures and of failed jobs that a file of an export contains.

        First the whole file and the whole chain are verified, as `audit verify` does with the same
        --other. Then the chain gets a checkpoint that this node signs, and `audit verify` continues
        from it. Records of keys, of shares and of operators stay. The node may run. After a crash
        run the command again: it continues.
        """
        import asyncio

        from custody.node.audit_prune_command import Wanted, prune_chain

        with operator_errors():
            why = reason_of(reason, "our rules say two years, ticket 31")
            settings = settings_of(context)
            kept = None if offline else asyncio.run(_kept(settings))
            wanted = Wanted(exported, keep_days, why, tuple(other or ()))
            found = asyncio.run(prune_chain(settings, key_check(), kept, wanted))
        made = found.checkpoint
        if as_json:
            until = None if made is None else made.sequence
            notes = list(found.notes)
            print_json({"deleted": found.deleted, "checkpoint": until, "notes": notes})
            return
        for note in found.notes:
            out.print(f"note: {printable(note)}", markup=False)
        if made is None:
            out.print(f"no further record is old enough; {found.deleted} records deleted")
        else:
            out.print(f"{found.deleted} records deleted; the checkpoint is record {made.sequence}")


def _add_restored(app: typer.Typer, settings_of: SettingsOf) -> None:
    @app.command()
    def restored(
        context: typer.Context,
        reason: Annotated[
            str,
            typer.Option(help="The restored backup and the reason, for the audit and the admin."),
        ],
        as_json: Json = False,
    ) -> None:
        """State that this node's database was restored from a backup.

        The control plane keeps heads of records that the backup lacks, so it reports this node as
        failing. This command writes a signed statement with both heads into the node's chain, and
        sends it to the control plane. An admin then acknowledges it: control-plane node restored.
        Keys that requests have archived since are archived again, as the control plane says.
        Run this command once for each restore, also if the node has worked since.
        """
        import asyncio

        from custody.node.audit_report import gap_document, gap_words

        with operator_errors():
            why = reason_of(reason, "disk failed, backup of 3 March")
            settings = settings_of(context)
            gap, is_acknowledged, again = asyncio.run(_state(settings, why))
        if as_json:
            print_json(
                {
                    **gap_document(gap),
                    "is_acknowledged": is_acknowledged,
                    "archived_again": again,
                }
            )
            return
        for key in again:
            out.print(key, markup=False)
        out.print(f"stated: {gap_words(gap)}", markup=False)
        out.print(
            "an admin has acknowledged it"
            if is_acknowledged
            else f"an admin now runs: control-plane node restored {settings.node.id} --reason ...",
            markup=False,
        )


def _verify_file(
    context: typer.Context,
    settings_of: SettingsOf,
    file: Path,
    as_json: bool,
) -> None:
    from custody.node.audit_records import MAX_FINDINGS
    from custody.node.identity import load_identity
    from custody.runtime.audit_file import verify_file
    from custody.wire.signed_bytes import PinnedKeys

    with operator_errors(EXIT_COULD_NOT_CHECK):
        settings = settings_of(context)
        signer = load_identity(settings.identity.private_key)
        found = verify_file(file, PinnedKeys([signer.public_key]), settings.node.id, MAX_FINDINGS)
    if as_json:
        print_json(vars(found))
    elif found.findings:
        print_table(["line", "finding"], found.findings)
        if found.findings_in_all > len(found.findings):
            out.print(f"and {found.findings_in_all - len(found.findings)} more")
    else:
        out.print(f"{found.records} records, {found.first} to {found.last}: nothing found")
    if found.findings:
        raise typer.Exit(EXIT_FAILED)


async def _verify(
    settings: NodeSettings, check_keys: KeyCheck, offline: bool, others: Sequence[str]
) -> Verification:

    from custody.node.chain_verification import Subject, verify_chain
    from custody.node.connections import open_database
    from custody.node.identity import load_identity
    from custody.runtime.progress import progress_bar

    signer = load_identity(settings.identity.private_key)
    subject = Subject(settings.node.id, signer, tuple(others))
    kept = None if offline else await _kept(settings)
    async with open_database(settings) as database:
        with progress_bar("records") as show:
            return await verify_chain(database, subject, kept, check_keys, show)


async def _kept(settings: NodeSettings) -> Kept:
    from custody.node.audit_records import read_kept
    from custody.node.connections import open_client
    from custody.node.identity import load_identity

    signer = load_identity(settings.identity.private_key)
    with _control_plane_needed("or use --offline, which cannot find that the end was removed"):
        async with open_client(settings) as client:
            return read_kept(await client.audit_heads(), signer, settings.node.id)


async def _state(settings: NodeSettings, reason: str) -> tuple[Gap, bool, list[str]]:
    """State the restore. Return the gap, whether it is acknowledged, and keys archived again."""
    from custody.node.audit_records import read_kept
    from custody.node.audit_restore import state_restore
    from custody.node.connections import open_client, open_database
    from custody.node.forgotten_archivals import (
        CLOCKS_DIFFER,
        archive_again,
        archived_again,
        time_of_record,
    )
    from custody.node.identity import load_identity
    from custody.wire.node_api import RestoreClaim

    signer, node = load_identity(settings.identity.private_key), settings.node.id
    with _control_plane_needed("then run this command again: it continues where it stopped"):
        async with open_client(settings) as client, open_database(settings) as database:
            kept = read_kept(await client.audit_heads(), signer, node)
            if kept.findings:
                raise OperatorError(
                    f"the control plane keeps heads that this node has not signed: "
                    f"{kept.findings[0].what}",
                    "Find out who replaced this node's identity key, or those heads.",
                )
            operator = operator_name()
            signed, gap = await state_restore(database, node, signer, kept, operator, reason)
            since = await time_of_record(database, node, gap.agreed.sequence)
            changed = await client.changed_keys(since - CLOCKS_DIFFER)
            again = await archive_again(database, node, changed.archived, operator)
            answer = await client.audit_restored(RestoreClaim(restored=signed))
            return gap, answer.is_acknowledged, [archived_again(each) for each in again]


@contextmanager
def _control_plane_needed(otherwise: str) -> Iterator[None]:
    from custody.node.control_plane_client import ControlPlaneRefused, ControlPlaneUnavailable

    try:
        yield
    except (ControlPlaneUnavailable, ControlPlaneRefused) as error:
        raise OperatorError(
            f"the control plane, which keeps the heads of the chain, did not answer: {error}",
            f"Correct that fault, {otherwise}.",
        ) from None
