"""mpc-signer shares: this signer's stored shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from custody.node.archive_command import add_archive_commands
from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name, reason_of
from mpc.commands.erase import add_erase_command

if TYPE_CHECKING:
    from mpc.restored.needed_repairs import NeededRepair
    from mpc.settings import SignerSettings
    from mpc.shares.verification import BadShare


NEEDS_REPAIR = "needs repair"
KNOWN = "SELECT key_id FROM shares WHERE key_id = :key_id LIMIT 1"
COLUMNS = [
    "key_id", "ceremony", "state", "is_uncertain", "is_archived", "generation", "protocol", "group",
    "index", "threshold", "network", "is_imported", "encryption_key", "created_at",
]  # fmt: skip


def application(settings_of: Callable[[typer.Context], SignerSettings]) -> typer.Typer:
    app = new_application("This signer's shares of keys. No command shows a secret.")

    @app.command("list")
    def list_shares(
        context: typer.Context,
        limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
        show_all: Annotated[bool, typer.Option("--all", help="Include erased shares.")] = False,
        as_json: Json = False,
    ) -> None:
        """Return the newest shares, and the keys that need a repair after a restore.

        Of a key in state `needs repair`, the peers use another share set than this signer has. The
        row shows the set of the peers. This signer signs nothing with the key before the repair.

        An uncertain share was restored, and too few signers have said that they use its set. It
        signs nothing until they are asked again (mpc-signer bans ask-again), or until the share is
        repaired. Its state is still the one that the database or the share copy had: this signer
        may have erased the key's earlier share.

        The private key of an imported share came from an application, which may still have it.
        """
        import asyncio

        with operator_errors():
            rows = asyncio.run(_newest(settings_of(context), limit, show_all))
        if as_json:
            print_json(rows)
        else:
            for row in rows:
                for name in ("is_uncertain", "is_archived", "is_imported"):
                    row[name] = "yes" if row[name] else "no"
                if row["signers"] is not None:
                    row["threshold"] = f"{row['threshold']} of {len(row['signers'] or ())}"
            print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])

    @app.command()
    def verify(
        context: typer.Context,
        key_id: Annotated[
            list[UUID] | None, typer.Argument(help="Ids of the keys; default: all.")
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Decrypt shares, check them with the protocol's library, and compare them with their rows.

        Changes nothing. Exit code 0: every share can be used; 1: some cannot.
        """
        import asyncio

        with operator_errors():
            count, bad = asyncio.run(_verify(settings_of(context), key_id or []))
        if as_json:
            print_json({"verified": count - len(bad), "bad": [asdict(share) for share in bad]})
        else:
            out.print(f"{count - len(bad)} of {count} shares can be used")
            if bad:
                columns = ["key_id", "ceremony", "what"]
                print_table(columns, [(each.key_id, each.ceremony, each.what) for each in bad])
        if bad:
            raise typer.Exit(EXIT_FAILED)

    @app.command()
    def discard(
        context: typer.Context,
        key_id: Annotated[UUID, typer.Argument(help="The root key's id.")],
        ceremony: Annotated[
            UUID, typer.Argument(help="The ceremony of the set, as shares list shows it.")
        ],
        reason: Annotated[
            str, typer.Option(help="The operators that you spoke to, for the audit.")
        ],
    ) -> None:
        """Erase a pending share of a set that cannot become active.

        Some signers may have promised to keep a set that others have abandoned. The control plane
        cannot end this, because it may be lying. The operators can: stop every signer that has a
        share of the set, then run shares list on each host. If one signer has the set active or
        repaired, certain or not: nobody discards before its set has been resolved
        (docs/how-to/conflicting-share-sets.md). It may have erased the set in use by the others.
        Start the signers again after all of them have discarded the set.
        """
        import asyncio

        with operator_errors():
            why = reason_of(reason, "Ada and Bo have stopped their signers")
            asyncio.run(_discard(settings_of(context), key_id, ceremony, why))
        out.print(f"discarded this signer's share of {ceremony}", markup=False)

    add_erase_command(app, settings_of)
    add_archive_commands(
        app, settings_of, known=KNOWN, group="mpc-signer shares", has_children=True
    )
    return app


async def _discard(settings: SignerSettings, key_id: UUID, ceremony: UUID, reason: str) -> None:
    from custody.node.audited_changes import AuditedChanges, record_without_job
    from custody.node.connections import open_database
    from mpc.shares import share_queries
    from mpc.shares.audited_shares import DISCARD_SHARE

    place = {"key_id": key_id, "ceremony": ceremony}
    details = {"ceremony": str(ceremony), "operator": operator_name(), "reason": reason}
    async with open_database(settings) as database:
        changes = AuditedChanges(database, settings.node.id)
        record = record_without_job(DISCARD_SHARE, details, key_id)
        if not await changes.commit(share_queries.DISCARD_BY_HAND, place, record):
            raise OperatorError(
                f"no share of {ceremony} is pending here",
                "See the pending shares: mpc-signer shares list.",
            )


async def _newest(settings: SignerSettings, limit: int, show_all: bool) -> list[dict[str, Any]]:
    from custody.node.connections import open_database
    from mpc.restored.needed_repairs import needed_repairs
    from mpc.shares import share_queries

    async with open_database(settings) as database:
        found = await database.rows(share_queries.LIST, {"limit": limit, "all": show_all})
        needed = await needed_repairs(database)
    return [_needed(each) for each in needed[:limit]] + [_described(row) for row in found]


def _needed(repair: NeededRepair) -> dict[str, Any]:
    known: dict[str, Any] = {
        "key_id": str(repair.key_id),
        "ceremony": str(repair.ceremony),
        "state": NEEDS_REPAIR,
        "is_uncertain": False,
        "is_imported": False,
        "generation": repair.generation,
        "threshold": repair.threshold,
        "signers": None,
        "created_at": repair.noticed_at.isoformat(),
        "changed_at": repair.noticed_at.isoformat(),
    }
    others = (
        "protocol",
        "group",
        "index",
        "network",
        "public_key",
        "has_signed",
        "encryption_key",
        "is_archived",
    )
    return dict.fromkeys(others) | known


def _described(row: Any) -> dict[str, Any]:
    return {
        "key_id": str(row.key_id),
        "ceremony": str(row.ceremony),
        "state": row.state,
        "is_uncertain": row.uncertain,
        "is_archived": row.archived,
        "generation": row.generation,
        "protocol": row.protocol,
        "group": row.group_name,
        "index": row.share_index,
        "threshold": row.threshold,
        "signers": row.signers,
        "network": row.network,
        "public_key": row.public_key and "0x" + row.public_key.hex(),
        "has_signed": row.proved,
        "is_imported": row.imported,
        "encryption_key": row.encryption_key,
        "created_at": row.created_at.isoformat(),
        "changed_at": row.changed_at.isoformat(),
    }


async def _verify(settings: SignerSettings, key_ids: list[UUID]) -> tuple[int, list[BadShare]]:

    from custody.node.connections import open_database
    from custody.runtime.progress import progress_bar
    from mpc.shares import share_queries
    from mpc.shares.encryption_keys import open_encryption_keys
    from mpc.shares.shares import Shares
    from mpc.shares.verification import verify_shares

    async with (
        open_database(settings) as database,
        open_encryption_keys(settings, database) as keys,
    ):
        await keys.compare(database)
        shares = Shares(database, keys)
        total = (await database.rows(share_queries.COUNT_KEPT, {"key_ids": key_ids}))[0].number
        with progress_bar("shares", total) as show:
            count, seen, bad = await verify_shares(shares, database, key_ids, show)
    missing = sorted(str(key_id) for key_id in key_ids if key_id not in seen)
    if missing:
        raise OperatorError(
            f"this signer has no share of {', '.join(missing)}", "mpc-signer shares list"
        )
    return count, bad
