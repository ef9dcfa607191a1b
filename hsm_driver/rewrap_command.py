"""hsm-driver master-key rewrap: put every wrapped key under the newest master key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    err,
    operator_errors,
    print_json,
)
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name
from hsm_driver.rewrap_report import Report, show, show_kinds
from hsm_driver.rewrap_report import as_json as report_as_json

if TYPE_CHECKING:
    from custody.database.pool import Pool
    from custody.pkcs11.hsm import Hsm
    from custody.wire.algorithms import Protection
    from hsm_driver.rewrap import Stage
    from hsm_driver.rewrap_kinds import Kind
    from hsm_driver.settings import DriverSettings

MIN_RATE = 0.01
MAX_RATE = 100_000.0
LOCK = "master-key rewrap"
IN_USE = "Wait until it has ended, or stop it. Then run the command again: it continues."
NO_COPIES = (
    "This configuration has no [key_copies], so the rewrapped keys get no copies in S3. If the "
    "group has such copies, run the command on a host with the section: once the older master key "
    "is gone, the present copies give back no key."
)


@dataclass(frozen=True)
class Wanted:
    """What the operator has asked for. ``rate``: keys a second; None: as fast as the HSM is.

    ``put_copies``: of keys under the newest master key that have no copy under it in S3.
    """

    dry_run: bool = False
    rate: float | None = None
    retire: bool = False
    without_backup: bool = False
    put_copies: bool = False


def add_rewrap(app: typer.Typer, settings_of: Callable[[typer.Context], DriverSettings]) -> None:
    """Add the command to an application."""

    @app.command()
    def rewrap(
        context: typer.Context,
        dry_run: Annotated[
            bool,
            typer.Option(
                "--dry-run",
                help="Say what can be rewrapped. Tries a key of each kind, stores none.",
            ),
        ] = False,
        rate: Annotated[
            float | None,
            typer.Option(
                min=MIN_RATE,
                max=MAX_RATE,
                help="Keys a second, at most [default: as fast as the HSM is].",
            ),
        ] = None,
        retire: Annotated[
            bool,
            typer.Option(
                "--retire", help="At the end, retire each older master key that wraps no key."
            ),
        ] = False,
        without_backup: Annotated[
            bool,
            typer.Option(
                "--without-backup",
                help="Although nobody has confirmed a backup of the newest master key.",
            ),
        ] = False,
        put_copies: Annotated[
            bool,
            typer.Option(
                "--put-copies",
                help="Also put into S3 the copies of keys that have none under the newest master "
                "key. Needs [key_copies].",
            ),
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
        as_json: Json = False,
    ) -> None:
        """Put every wrapped key under the newest adopted master key, while the drivers work.

        Only master keys of `generate --rewrappable` let their keys out, inside the HSM, to the next
        one; and keys of host signing can always be moved. --dry-run says which keys can be
        rewrapped, and why not: docs/how-to/rewrap-the-master-key.md.

        Each key is unwrapped under the newest master key, and signs, before its row changes. With
        [key_copies] its copy is in S3 before; without the section, a rewrapped key gets no copy.
        After an interruption, run the command again: it continues. The rows of keys that fail stay
        as they are.

        First restart each driver of the group after `adopt`. A driver that was not cannot use the
        rewrapped keys.

        Exit code 0: each key is under the newest master key, or --dry-run says that it can be; 1:
        some are not.
        """
        import asyncio

        def confirm(kinds: Sequence[Kind]) -> None:
            if not as_json:
                show_kinds(kinds)
            if not any(kind.why_not is None for kind in kinds):
                return
            if settings.key_copies is None:
                err.print(NO_COPIES, markup=False)
            if not yes:
                typer.confirm(_question(kinds), abort=True, err=True)

        wanted = Wanted(dry_run, rate, retire, without_backup, put_copies)
        with operator_errors():
            settings = settings_of(context)
            report = asyncio.run(rewrap_keys(settings, wanted, confirm))
        if as_json:
            print_json(report_as_json(report, dry_run=dry_run))
        else:
            show(report, dry_run=dry_run)
        if not report.is_whole:
            raise typer.Exit(EXIT_FAILED)


async def rewrap_keys(
    settings: DriverSettings,
    wanted: Wanted,
    confirm: Callable[[Sequence[Kind]], None],
    on_stage: Callable[[Stage], None] = lambda _: None,
) -> Report:
    """Do what the command does. ``confirm`` raises if the operator says no. Raise OperatorError."""
    import asyncio

    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from custody.node.identity import load_identity
    from custody.node.only_process import stopped_node
    from custody.runtime.progress import progress_bar
    from hsm_driver.driver import key_copies, open_hsm
    from hsm_driver.missing_copies import put_missing
    from hsm_driver.retirement import retire_unused
    from hsm_driver.rewrap import Rewrapping
    from hsm_driver.vault import Vault

    identity = load_identity(settings.identity.private_key)
    async with open_database(settings) as database, open_hsm(settings, database) as hsm:
        await Vault(database, hsm).compare_master_keys()
        newest = await _newest(hsm)
        copies = key_copies(settings, hsm, identity)
        if wanted.put_copies and copies is None:
            raise OperatorError(
                "the configuration has no [key_copies], so no copy can be put",
                "Run the command on a host that has the section: docs/how-to/copy-wrapped-keys.md.",
            )
        rewrapping = Rewrapping(database, hsm, newest, copies, on_stage)
        kinds, failed = await rewrapping.survey()
        report = Report(sorted(newest.values()), kinds, failed)
        if wanted.dry_run:
            if wanted.put_copies and copies is not None:
                missing = await put_missing(
                    database, Vault(database, hsm), copies, report.newest, dry_run=True
                )
                report.copies_missing = missing.number
                report.failed += missing.failed
            return report
        async with stopped_node(database, LOCK, IN_USE):
            if any(kind.why_not is None for kind in kinds) and not wanted.without_backup:
                await _require_backup(database, report.newest)
            await asyncio.to_thread(confirm, kinds)
            changes = AuditedChanges(database, settings.node.id)
            total = sum(kind.keys for kind in kinds if kind.why_not is None)
            with progress_bar("keys", total) as show:
                done = await rewrapping.rewrap(kinds, changes, operator_name(), wanted.rate, show)
            report.rewrapped, report.failed, report.left = done.keys, done.failed, done.left
            if wanted.put_copies and copies is not None:
                put = await put_missing(database, Vault(database, hsm), copies, report.newest)
                report.copied = put.number
                report.failed += put.failed
            if wanted.retire:
                reason = f"no key is under it: rewrapped under {', '.join(report.newest)}"
                # not those that were adopted meanwhile: drivers may make keys under them
                older = (await hsm.check_values()).keys() - set(report.newest)
                report.retired = await retire_unused(changes, older, operator_name(), reason)
        return report


async def _newest(hsm: Hsm) -> dict[Protection, str]:
    """Return the names of the newest master keys by what they protect. Raise OperatorError."""
    from custody.pkcs11.master_key import HOST_SUFFIX
    from custody.wire.algorithms import Protection
    from hsm_driver.key_copies import version_of

    names = sorted(await hsm.check_values(), key=version_of)
    host = [name for name in names if name.rpartition("/")[0].endswith(HOST_SUFFIX)]
    wrapping = [name for name in names if name not in host]
    if not host or not wrapping or version_of(host[-1]) != version_of(wrapping[-1]):
        found = ", ".join([*wrapping[-1:], *host[-1:]])
        raise OperatorError(
            f"the newest master keys in use are {found}, which are not the two of one version",
            "Adopt both keys of the newest version: hsm-driver master-key adopt.",
        )
    return {Protection.HSM: wrapping[-1], Protection.HOST: host[-1]}


async def _require_backup(database: Pool, newest: Collection[str]) -> None:
    """Raise OperatorError unless a backup of each newest master key is confirmed."""
    from custody.node.key_backups import unconfirmed
    from hsm_driver.backup_warnings import COMMAND
    from hsm_driver.vault import known_master_keys

    known = await known_master_keys(database)
    values = {name: value for name, value in known.items() if name in newest}
    if missing := sorted(await unconfirmed(database, values)):
        raise OperatorError(
            f"nobody has confirmed a backup of {', '.join(missing)}: if the HSM is lost, every "
            "rewrapped key is lost with it",
            f"Back the HSM up by its vendor's mechanism, then: {COMMAND} --place TEXT. To rewrap "
            "before that: --without-backup.",
        )


def _question(kinds: Sequence[Kind]) -> str:
    movable = [kind for kind in kinds if kind.why_not is None]
    newest = ", ".join(sorted({kind.to for kind in movable}))
    return (
        f"Rewrap {sum(kind.keys for kind in movable)} keys under {newest}? Each driver of the "
        "group must have been restarted since this version was adopted"
    )
