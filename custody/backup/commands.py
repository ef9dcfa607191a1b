"""`backup`: the commands that the driver, the signer and the control plane share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custody.backup.errors import (
    EXIT_CODES,
    NothingThere,
    backup_errors,
)
from custody.runtime.console import (
    EXIT_COULD_NOT_CHECK,
    EXIT_DAMAGED,
    EXIT_FAILED,
    Json,
    err,
    out,
    print_json,
    print_table,
)
from custody.runtime.console import application as new_application

if TYPE_CHECKING:
    from custody.backup.daemon import Daemon, Newer
    from custody.backup.folder import ListedBackup
    from custody.backup.verification import Verification

Identities = Annotated[
    list[Path],
    typer.Option(
        "--identity",
        help="A file of mode 0600 with a recipient's private key: age-keygen's, or OpenSSH's. A "
        "passphrase is asked for. May be repeated.",
    ),
]
NodeKey = Annotated[
    str | None,
    typer.Option(
        help="The public key that must have signed the backup, as `identity show` printed it (of "
        "a control plane: `job-signing-key status`) [default: the configured key]."
    ),
]


def application(daemon_of: Callable[[typer.Context], Daemon]) -> typer.Typer:
    """Return the command group of a program; ``daemon_of`` raises OperatorError."""
    app = new_application(
        "Backups of the database, the configuration, the identity key and the certificates."
    )

    @app.command()
    def create(context: typer.Context, as_json: Json = False) -> None:
        """Write a backup: one file, encrypted to [backup] recipients, signed by this node.

        Needs no downtime. The file gets its name when it is complete and on disk. The PIN and the
        encryption key of a signer are never in it.
        """
        from custody.backup.creation import create as create_backup
        from custody.runtime.hardening import harden
        from custody.runtime.progress import step_bars

        with backup_errors():
            harden()
            with step_bars() as advance:
                made = create_backup(daemon_of(context), advance)
        if as_json:
            print_json({"file": str(made.path), "size": made.size, **_facts(made.manifest)})
            return
        out.print(f"wrote {made.path} ({made.size} bytes)", markup=False)
        out.print("next: copy it to another host, and run backup verify there or here")

    @app.command("list")
    def list_backups(context: typer.Context, as_json: Json = False) -> None:
        """List this node's backups, oldest first. Needs no private key.

        Checks the signature and that each file is complete; `verify` checks the rest.
        Exit code 0: all are good so far; 3: there is none; 4: at least one is damaged.
        """
        from custody.backup.folder import BackupFolder

        with backup_errors():
            daemon = daemon_of(context)
            found = BackupFolder(daemon).listed()
            if as_json:
                print_json([_listed(each) for each in found])
            elif found:
                _show(found)
            if not found:
                raise NothingThere(
                    f"{daemon.section.folder} contains no backup of {daemon.node}",
                    f"Make one: {daemon.program} backup create",
                )
        if any(each.problem for each in found):
            raise typer.Exit(EXIT_DAMAGED)

    @app.command()
    @_explained
    def verify(
        context: typer.Context,
        identity: Identities,
        file: Annotated[
            Path | None, typer.Argument(help="The backup [default: this node's newest].")
        ] = None,
        sample: Annotated[
            int | None,
            typer.Option(min=1, help="Try so many keys, chosen at random [default: all]."),
        ] = None,
        node_key: NodeKey = None,
        as_json: Json = False,
    ) -> None:
        """Restore a backup into a scratch database, and prove that it can be used.

        Checks signature, checksums, row counts, audit chain and keys. Needs no downtime and
        changes nothing that is in use. The scratch database is dropped afterwards.
        """
        from custody.backup.age import read_identities
        from custody.backup.folder import BackupFolder
        from custody.backup.verification import verify as verify_backup
        from custody.runtime.hardening import harden
        from custody.runtime.private_keys import ask_passphrase
        from custody.runtime.progress import step_bars

        with backup_errors(EXIT_COULD_NOT_CHECK):
            harden()
            daemon = daemon_of(context)
            path = file or BackupFolder(daemon).newest()
            identities = read_identities(identity, ask_passphrase)
            with step_bars() as advance:
                found = verify_backup(
                    daemon, path, identities, _keys(daemon, node_key), sample, advance
                )
        _show_verification(path, found, as_json)
        if found.findings:
            raise typer.Exit(EXIT_FAILED)

    @app.command()
    @_explained
    def restore(
        context: typer.Context,
        file: Annotated[Path, typer.Argument(help="The backup.")],
        identity: Identities,
        files: Annotated[
            Path | None,
            typer.Option(
                help="Write configuration, keys and certificates into this folder, and nothing "
                "into a database. Needs no configuration. Never overwrites a file."
            ),
        ] = None,
        node_key: NodeKey = None,
        as_json: Json = False,
    ) -> None:
        """Restore a backup's database into the configured, empty database.

        On a new host, run it twice: with --files FOLDER, which gives back the configuration; and
        then without, with that configuration. Afterwards a node asks the control plane what is
        newer there, archives again the keys that requests have archived since, and says what to do
        about the rest. A control plane asks nobody: run reconcile then.
        """
        from custody.backup.age import read_identities
        from custody.runtime.hardening import harden
        from custody.runtime.private_keys import ask_passphrase

        with backup_errors():
            harden()
            identities = read_identities(identity, ask_passphrase)
            if files is not None:
                _restore_files(file, identities, node_key, files, as_json)
                return
            daemon = daemon_of(context)
            is_good = _restore_database(daemon, file, identities, node_key, as_json)
        if not is_good:
            raise typer.Exit(EXIT_FAILED)

    @app.command()
    def newer(
        context: typer.Context,
        file: Annotated[Path, typer.Argument(help="The backup that was restored.")],
        as_json: Json = False,
    ) -> None:
        """Ask the control plane what the database lacks since a backup: `restore` does this too.

        Names each key and the audit records, and what to do about each. Keys that requests have
        archived since are archived again at once. Needs no private key.
        Exit code 0: nothing is newer; 1: something is; 2: the control plane did not answer.
        """
        import asyncio

        from custody.backup.layout import open_backup
        from custody.runtime.errors import OperatorError

        with backup_errors(EXIT_COULD_NOT_CHECK):
            daemon = daemon_of(context)
            if daemon.newer is None:
                raise OperatorError(
                    "no other host knows what a control plane's database lacks",
                    "Run: control-plane reconcile, which asks the nodes.",
                )
            with open_backup(file) as backup:
                backup.check_signature(daemon.believed)
            found = asyncio.run(daemon.newer(backup.manifest.created_at))
        if as_json:
            print_json([vars(each) for each in found])
        else:
            _show_newer(found)
        if found:
            raise typer.Exit(EXIT_FAILED)

    @app.command()
    def prune(context: typer.Context, as_json: Json = False) -> None:
        """Delete old backups, as [backup] keep_days and keep_count say.

        Never deletes the newest backup that `verify` found good, nor a file that it cannot read.
        """
        from datetime import UTC, datetime

        from custody.backup.folder import BackupFolder

        with backup_errors():
            daemon = daemon_of(context)
            deleted = BackupFolder(daemon).prune(datetime.now(UTC))
        if as_json:
            print_json({"deleted": [path.name for path in deleted]})
            return
        for path in deleted:
            out.print(f"deleted {path}", markup=False)
        out.print(f"{len(deleted)} backups deleted")

    return app


def _explained(command: Callable[..., None]) -> Callable[..., None]:
    """Add the meaning of the exit codes to a command's help."""
    command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{EXIT_CODES}"
    return command


def _restore_files(
    file: Path, identities: list[Any], node_key: str | None, folder: Path, as_json: bool
) -> None:
    from custody.backup.restoration import restore_files

    key = None if node_key is None else _node_key(node_key)
    written, signed_by = restore_files(file, identities, key, folder)
    if as_json:
        print_json({"files": [str(path) for path in written], "signed_by": signed_by})
        return
    for path in written:
        out.print(f"wrote {path}", markup=False)
    out.print(f"signed by {signed_by}", markup=False)
    if key is None:
        out.print(
            "that key is in the backup itself: compare it with the key id that `identity show` "
            "printed, or that others have pinned"
        )
    out.print(
        "next: move the files to their places, put the PIN or the encryption key beside them, "
        "create an empty database, and run backup restore without --files"
    )


def _restore_database(
    daemon: Daemon, file: Path, identities: list[Any], node_key: str | None, as_json: bool
) -> bool:
    """Restore, show what was done and what is newer, and return whether the result is good."""
    from custody.backup.restoration import restore
    from custody.migrations.schema import HEADS
    from custody.runtime.progress import step_bars

    with step_bars() as advance:
        found = restore(daemon, file, identities, _keys(daemon, node_key), advance)
    is_current = found.manifest.schema_revision == HEADS[daemon.tree]
    newer, problem = _ask_newer(daemon, file, found, is_current)
    next_steps = daemon.next_steps(found.manifest.created_at)
    if as_json:
        print_json(
            {
                "file": str(file),
                "good": not found.findings,
                "findings": found.findings,
                "newer": None if newer is None else [vars(each) for each in newer],
                "problem": problem,
                "next": next_steps,
                **_facts(found.manifest),
            }
        )
        return not found.findings
    _show_verification(file, found, as_json=False)
    out.print("the database is restored", markup=False)
    if newer is not None:
        _show_newer(newer)
    if problem is not None:
        out.print(problem, markup=False)
    for each in next_steps:
        out.print(each, markup=False)
    return not found.findings


def _ask_newer(
    daemon: Daemon, file: Path, found: Verification, is_current: bool
) -> tuple[list[Newer] | None, str | None]:
    """Return what is newer at the control plane, or why that is not known and what to do."""
    import asyncio

    from custody.runtime.errors import OperatorError

    command = f"{daemon.program} backup newer {file}"
    if daemon.newer is None:
        return None, None
    if not is_current:
        return None, f"next: {daemon.program} migrate, then: {command}"
    try:
        return asyncio.run(daemon.newer(found.manifest.created_at)), None
    except OperatorError as error:
        return None, f"what is newer is not known: {error.what}; when that is corrected: {command}"


def _show_newer(found: list[Newer]) -> None:
    for each in found:
        out.print(f"newer: {each.what}", markup=False)
        out.print(f"  -> {each.todo}", markup=False)
    out.print(f"{len(found)} facts are newer at the control plane than this database")


def _keys(daemon: Daemon, node_key: str | None) -> tuple[bytes, ...]:
    return daemon.believed if node_key is None else (_node_key(node_key),)


def _node_key(text: str) -> bytes:
    import base64
    import binascii

    from custody.runtime.errors import OperatorError
    from custody.wire.public_keys import check_ed25519

    try:
        return check_ed25519(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise OperatorError(
            "--node-key is not an Ed25519 public key in base64", "Copy what identity show printed."
        ) from None


def _facts(manifest: Any) -> dict[str, Any]:
    return {"manifest": manifest.model_dump(mode="json")}


def _listed(each: ListedBackup) -> dict[str, Any]:
    listed = {
        "file": str(each.path),
        "size": each.size,
        "problem": each.problem,
        "verified_at": each.verified and each.verified.verified_at.isoformat(),
    }
    return listed | (_facts(each.backup.manifest) if each.backup else {"manifest": None})


def _show(found: list[ListedBackup]) -> None:
    rows = []
    for each in found:
        manifest = each.backup.manifest if each.backup else None
        rows.append(
            [
                each.path.name,
                manifest and manifest.created_at.isoformat(),
                each.size,
                manifest and manifest.product_version,
                manifest and manifest.schema_revision,
                each.verified and each.verified.verified_at.isoformat(timespec="seconds"),
                each.problem or "complete",
            ]
        )
    print_table(["file", "created", "bytes", "version", "schema", "verified", "state"], rows)


def _show_verification(path: Path, found: Verification, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "file": str(path),
                "good": not found.findings,
                "tried": found.tried,
                "in_all": found.in_all,
                "checks": found.said,
                "findings": found.findings,
                **_facts(found.manifest),
            }
        )
        return
    for line in found.said:
        out.print(f"ok: {line}", markup=False)
    for line in found.findings:
        err.print(f"not good: {line}", style="red", markup=False)
    if found.findings:
        out.print(f"{path.name} is not good: {len(found.findings)} findings", markup=False)
    else:
        out.print(f"{path.name} is good", markup=False)
