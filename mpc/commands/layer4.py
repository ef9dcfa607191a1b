"""mpc-signer layer4: the customer's own way to every key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    err,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError
from mpc.layer4.configuration import NewLayer4

if TYPE_CHECKING:
    from custody.runtime.checks import Check
    from mpc.layer4.backfill import Filled
    from mpc.layer4.settings import Layer4Section
    from mpc.settings import SignerSettings

SHOWN = 50
COLUMNS = ["key_id", "ceremony", "generation", "state", "attempts", "last_fault"]
NEXT = "See mpc-signer layer4 status, and docs/how-to/layer4.md."


def application(settings_of: Callable[[typer.Context], SignerSettings]) -> typer.Typer:
    app = new_application(
        """Share copies: each share, encrypted to the customer's key, in the customer's bucket.

        In order: init, restart the signer, test, backfill (for keys from before), status.
        """
    )
    _add_init(app, settings_of)

    @app.command()
    def status(context: typer.Context, as_json: Json = False) -> None:
        """Show how many shares have a copy in the customer's bucket, and which have none.

        Exit code 0: every share has its copy; 1: some have not, or Layer 4 is off.
        """
        import asyncio

        with operator_errors():
            settings = settings_of(context)
            found = asyncio.run(_status(settings, section_of(settings)))
        if as_json:
            print_json(found)
        else:
            _show_status(found)
        if found["not_stored"]:
            raise typer.Exit(EXIT_FAILED)

    @app.command()
    def backfill(context: typer.Context, as_json: Json = False) -> None:
        """Make and put the copies that are missing: of keys from before Layer 4 was on.

        Run it also after another bucket, prefix or customer key. The signer may run meanwhile.
        After an interruption, run it again: it continues. Exit code 1: some copies are missing.
        """
        import asyncio

        with operator_errors():
            settings = settings_of(context)
            filled = asyncio.run(_backfill(settings, section_of(settings)))
        if as_json:
            print_json(asdict(filled))
        else:
            _show_filled(filled)
        if filled.waiting or filled.stuck:
            raise typer.Exit(EXIT_FAILED)

    @app.command()
    def test(context: typer.Context, as_json: Json = False) -> None:
        """Put a canary, which the customer then decrypts with its private key.

        It shows that bucket, credentials and customer key fit together. The canary has no secret.
        """
        from custody.s3.bucket import Bucket
        from custody.s3.faults import S3Fault
        from mpc.layer4.canary import new_canary
        from mpc.layer4.customer_key import read_customer_key

        with operator_errors():
            settings = settings_of(context)
            section = section_of(settings)
            key = read_customer_key(section.customer_key_file)
            canary = new_canary(section.prefix, settings.node.id, key, datetime.now(UTC))
            try:
                Bucket(section).put_new(canary.name, canary.content)
            except S3Fault as fault:
                raise OperatorError(fault.what, fault.todo) from None
        if as_json:
            print_json(
                {
                    "bucket": section.bucket,
                    "name": canary.name,
                    "text": canary.text,
                    "customer_key": key.fingerprint,
                }
            )
            return
        out.print(f"put s3://{section.bucket}/{canary.name}", markup=False)
        out.print("the customer, with credentials that may get:", markup=False)
        out.print(f"  aws s3 cp s3://{section.bucket}/{canary.name} canary.age", markup=False)
        out.print("  age --decrypt -i customer-key canary.age", markup=False)
        out.print(f"which must print: {canary.text.strip()}", markup=False)

    return app


def _add_init(app: typer.Typer, settings_of: Callable[[typer.Context], SignerSettings]) -> None:
    from custody.runtime.options import options_of

    @app.command()
    @options_of(NewLayer4)
    def init(context: typer.Context, new: NewLayer4) -> None:
        """Check the customer's key and bucket, and add the section layer4 to the configuration.

        It tries what the credentials may do: put; not get, list, delete, overwrite, nor put below
        another prefix. It checks versioning and object lock. Each try puts a small object that the
        customer can decrypt. After a failed check nothing is written, and the exit code is 1.
        """
        from mpc.layer4.configuration import add_section, layer4_section

        with operator_errors():
            path: Path = context.find_root().obj
            settings = settings_of(context)
            if settings.layer4 is not None:
                raise OperatorError(
                    f"{path} has a section [layer4] already", "Edit it, or remove it first."
                )
            section, text = layer4_section(new)
            checks = _bucket_checks(settings.node.id, section, new.other_prefix, show=not new.json)
            failed = [check for check in checks if check.status.value == "fail"]
            is_written = not failed and not new.print_only
            if is_written:
                add_section(path, text)
        if new.json:
            print_json(
                {
                    "checks": [asdict(check) for check in checks],
                    "section": text,
                    "written": is_written,
                }
            )
        elif failed:
            names = ", ".join(check.name for check in failed)
            err.print(f"error: nothing was written: {names}", style="red", markup=False)
            err.print(
                "  -> Do what the line below each check says, and run the same command again."
            )
        elif new.print_only:
            out.print(text, markup=False)
        else:
            out.print(f"added [layer4] to {path}", markup=False)
            out.print("next: restart the signer, then: mpc-signer layer4 test, layer4 backfill")
        if failed:
            raise typer.Exit(EXIT_FAILED)


def section_of(settings: SignerSettings) -> Layer4Section:
    """Return the section. Raise OperatorError if Layer 4 is off."""
    if settings.layer4 is None:
        raise OperatorError(
            "Layer 4 is off: the configuration has no section [layer4]",
            "To turn it on: mpc-signer layer4 init (docs/how-to/layer4.md).",
        )
    return settings.layer4


def _bucket_checks(
    node: str, section: Layer4Section, other_prefix: str, *, show: bool
) -> list[Check]:
    from custody.runtime.checks import print_check
    from custody.s3.bucket import Bucket
    from custody.s3.checks import check_bucket
    from mpc.layer4.canary import new_canary
    from mpc.layer4.customer_key import read_customer_key

    key = read_customer_key(section.customer_key_file)
    if show:
        out.print(f"customer key {key.fingerprint}: compare it with the customer", markup=False)
    canary = new_canary(section.prefix, node, key, datetime.now(UTC))
    elsewhere = other_prefix + canary.name.removeprefix(section.prefix)
    checks = []
    for check in check_bucket(Bucket(section), canary.name, canary.content, elsewhere):
        checks.append(check)
        if show:
            print_check(check)
    return checks


async def _status(settings: SignerSettings, section: Layer4Section) -> dict[str, Any]:
    from custody.node.connections import open_database
    from mpc.layer4 import copy_queries
    from mpc.layer4.putting import place_of

    here = place_of(section)
    async with open_database(settings) as database:
        [counts] = await database.rows(copy_queries.COUNTS, here)
        rows = await database.rows(copy_queries.NOT_STORED, {**here, "limit": SHOWN})
        elsewhere = await database.rows(copy_queries.ELSEWHERE, here)
    return {
        **here,
        "shares": counts.shares,
        "stored": counts.stored,
        "waiting": counts.waiting,
        "missing": counts.missing,
        "shown": len(rows),
        "not_stored": [
            {
                "key_id": str(row.key_id),
                "ceremony": str(row.ceremony),
                "generation": row.generation,
                "state": row.state,
                "object": row.name,
                "attempts": row.attempts,
                "last_fault": row.last_fault or (None if row.name else "no copy was made"),
            }
            for row in rows
        ],
        "elsewhere": [
            {
                "place": row.place,
                "customer_key": row.customer_key,
                "copies": row.copies,
                "stored": row.stored,
            }
            for row in elsewhere
        ],
    }


def _show_status(found: dict[str, Any]) -> None:
    out.print(f"bucket        {found['place']}", markup=False)
    out.print(f"customer key  {found['customer_key']}", markup=False)
    out.print(
        f"{found['stored']} of {found['shares']} shares have their copy in the bucket; "
        f"{found['waiting']} copies wait, {found['missing']} shares have none"
    )
    if found["not_stored"]:
        print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in found["not_stored"]])
    if found["waiting"] + found["missing"] > found["shown"]:
        out.print(f"the first {found['shown']} of them are shown")
    if found["missing"]:
        out.print("  -> mpc-signer layer4 backfill", markup=False)
    for row in found["elsewhere"]:
        out.print(
            f"{row['stored']} of {row['copies']} copies for {row['customer_key']} are in "
            f"{row['place']}",
            markup=False,
        )


async def _backfill(settings: SignerSettings, section: Layer4Section) -> Filled:

    from custody.node.connections import open_database
    from custody.node.identity import load_identity
    from custody.runtime.progress import progress_bar
    from mpc.layer4.backfill import backfill, count_missing
    from mpc.layer4.copies import ShareCopies
    from mpc.layer4.putting import Putter
    from mpc.shares.encryption_keys import open_encryption_keys
    from mpc.shares.shares import Shares

    signer = load_identity(settings.identity.private_key)
    async with (
        open_database(settings) as database,
        open_encryption_keys(settings, database) as keys,
    ):
        await keys.compare(database)
        shares, putter = Shares(database, keys), Putter(database, section)
        copies = ShareCopies(database, signer, shares, section, putter)
        with progress_bar("shares", await count_missing(database, putter)) as show:
            return await backfill(database, shares, copies, putter, show)


def _show_filled(filled: Filled) -> None:
    out.print(f"made {filled.made} copies")
    if filled.waiting:
        out.print(f"{filled.waiting} copies are not in the bucket: {filled.fault}", markup=False)
        out.print("  -> Correct this, then run the command again, or wait for the signer.")
    if filled.stuck:
        print_table(
            ["key_id", "ceremony", "what"],
            [(each.key_id, each.ceremony, each.what) for each in filled.stuck],
        )
