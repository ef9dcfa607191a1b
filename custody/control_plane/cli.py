"""The commands of control-plane. Each one opens what it needs, and calls the code that does it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from custody.backup import commands as backup_commands
from custody.control_plane.access.scopes import Scope
from custody.control_plane.audit.commands import audit_app
from custody.control_plane.command_context import audited, path_of, settings_of, with_database
from custody.control_plane.job_signing_key.commands import job_signing_key_app
from custody.control_plane.reconcile.commands import reconcile_command
from custody.control_plane.retention.commands import retention_app
from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    application,
    operator_errors,
    out,
    print_json,
    print_table,
    printable,
)
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name, reason_of
from custody.runtime.tls_options import CrlFile

if TYPE_CHECKING:
    from custody.backup.daemon import Daemon
    from custody.control_plane.access.tokens import NewToken
    from custody.control_plane.audit import restores as audit_restores
    from custody.control_plane.audit.own_chain import Auditor
    from custody.control_plane.database import AnyRow
    from custody.database.connection import Connection


app = application(
    """Takes requests from applications and gives them to the nodes that hold the keys.

    A new control plane, in order: init, migrate, node add, token create, serve.
    """
)
token_app = application("Bearer tokens of applications.")
node_app = application("The nodes that the control plane gives jobs to.")
app.add_typer(token_app, name="token")
app.add_typer(node_app, name="node")
app.add_typer(job_signing_key_app, name="job-signing-key")
app.add_typer(retention_app, name="retention")
app.add_typer(audit_app, name="audit")
app.command("reconcile")(reconcile_command)


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="CONTROL_PLANE_CONFIG", help="The TOML file.")
    ] = Path("control-plane.toml"),
) -> None:
    context.obj = config


def _daemon(context: typer.Context) -> Daemon:
    from custody.control_plane.backup import daemon_of

    return daemon_of(settings_of(context), path_of(context))


app.add_typer(backup_commands.application(_daemon), name="backup")


@app.command()
def init(
    context: typer.Context,
    crl: CrlFile = None,
    database_url_file: Annotated[
        Path | None, typer.Option(help="File of mode 0600 that contains the database's URL.")
    ] = None,
) -> None:
    """Write a configuration that explains each setting, and make the key that signs jobs."""
    from custody.control_plane.settings import SIGNING_KEY_FILE, initialise

    path = path_of(context)
    with operator_errors():
        public_key = initialise(path, crl, database_url_file)
    out.print(f"wrote {path} and {path.parent / SIGNING_KEY_FILE}", markup=False)
    out.print("job-signing public key, for every node's job_signing_keys:")
    out.print(f"  {base64.b64encode(public_key).decode()}", markup=False)
    out.print("next: fill in the missing settings, then run: control-plane migrate")


@app.command()
def migrate(context: typer.Context) -> None:
    """Migrate the database to the schema of this version. You may run it twice, also at once."""
    from custody.control_plane.database import TREE
    from custody.database.errors import database_errors
    from custody.migrations import schema

    with operator_errors(), database_errors():
        schema.migrate(TREE, settings_of(context).database.read_url())
    out.print("the database has this version's schema")


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Try everything that this replica needs, and say how to correct what fails.

    Exit code 0: no fault, or only warnings; 1: something must be corrected.
    """
    import asyncio
    from dataclasses import asdict

    from custody.control_plane.doctor import checks
    from custody.runtime.checks import Check, Status, print_check

    async def made() -> list[Check]:
        found = []
        async for check in checks(settings_of(context)):
            found.append(check)
            if not as_json:
                print_check(check)
        return found

    with operator_errors():
        found = asyncio.run(made())
    if as_json:
        print_json([asdict(check) for check in found])
    if any(check.status is Status.FAIL for check in found):
        raise typer.Exit(EXIT_FAILED)


@app.command("serve")
def serve_command(
    context: typer.Context,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the public API and the node API until SIGTERM."""
    import uvloop

    from custody.control_plane import serve
    from custody.runtime import log
    from custody.runtime.certificate_watch import ignore_hangups
    from custody.runtime.hardening import harden

    with operator_errors():
        ignore_hangups()  # until the daemon handles SIGHUP
        harden()
        log.configure(log_level)
        uvloop.run(serve.serve_control_plane(settings_of(context)))


@app.command()
def openapi() -> None:
    """Print the public API's OpenAPI document. Needs no configuration."""
    from custody.control_plane import serve

    print_json(serve.openapi_document())


@token_app.command("create")
def token_create(
    context: typer.Context,
    application_name: Annotated[
        str, typer.Argument(metavar="APPLICATION", help="An application's tokens share wallets.")
    ],
    scope: Annotated[
        list[Scope],
        typer.Option(
            help="What the token may do; may be repeated. read: every GET. wallets: make wallets "
            "and keys. sign: make signatures. admin: all of these, make signer groups, and see "
            "what is for operators: nodes' faults, freezes, bans, and whole reasons of requests."
        ),
    ],
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until it expires [default: it never expires].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a bearer token and print it once. Register the application if it is new."""
    from custody.control_plane.access import tokens
    from custody.control_plane.audit.access_rows import token_facts

    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)

    async def create(connection: Connection, auditor: Auditor) -> NewToken:
        made = await tokens.create_token(connection, application_name, scope, expires_at)
        said = {"token": str(made.id), "application": made.application}
        await auditor.record(connection, "CreateToken", {**said, **token_facts(made)})
        return made

    with operator_errors():
        made = audited(context, create)
    if as_json:
        print_json(
            {
                "id": made.id,
                "application": made.application,
                "application_id": made.application_id,
                "scopes": made.scopes,
                "expires_at": made.expires_at,
                "token": made.text,
            }
        )
        return
    out.print(f"token {made.id} of {made.application}, shown only once:", markup=False)
    out.print(made.text, markup=False)


@token_app.command("revoke")
def token_revoke(
    context: typer.Context,
    token_id: Annotated[UUID, typer.Argument(help="Its id, as `token list` shows it.")],
) -> None:
    """Revoke a token: the API refuses it from now on."""
    from custody.control_plane.access import tokens

    async def revoke(connection: Connection, auditor: Auditor) -> bool:
        is_there = await tokens.revoke_token(connection, token_id)
        if is_there:
            await auditor.record(connection, "RevokeToken", {"token": str(token_id)})
        return is_there

    with operator_errors():
        if not audited(context, revoke):
            raise OperatorError(
                f"there is no token {token_id}", "List the tokens: control-plane token list"
            )
    out.print(f"token {token_id} is revoked")


@token_app.command("list")
def token_list(context: typer.Context, as_json: Json = False) -> None:
    """List the tokens, without their text."""
    from custody.control_plane.access import tokens

    with operator_errors():
        rows = with_database(context, tokens.list_tokens)
    if as_json:
        print_json([dict(row) for row in rows])
        return
    print_table(
        ["id", "application", "scopes", "created", "expires", "revoked"],
        [
            [
                row.id,
                row.application,
                " ".join(row.scopes),
                _time(row.created_at),
                _time(row.expires_at),
                _time(row.revoked_at),
            ]
            for row in rows
        ],
    )


@node_app.command("add")
def node_add(
    context: typer.Context,
    node_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Their ids, as in their certificates.")
    ],
    group: Annotated[str, typer.Option(help="Their group, as in their configuration.")],
    owner: Annotated[
        str | None, typer.Option(help="Their owner, which lists of signers and groups show.")
    ] = None,
    certificates: Annotated[
        list[Path] | None,
        typer.Option(
            "--certificate",
            help="A node's certificate.pem; repeatable. Certificates of this node that begin "
            "earlier are refused from then on. Required for a node that was removed before.",
        ),
    ] = None,
) -> None:
    """Register nodes: the control plane then gives them jobs of their group."""
    from custody.control_plane.access import nodes as registry
    from custody.control_plane.audit.access_rows import certificate_facts

    async def add(connection: Connection, auditor: Auditor) -> None:
        for node_id in node_ids:
            await registry.add_node(connection, node_id, group, owner, shown.get(node_id))
            said = {"node": node_id, "group": group, "owner": owner}
            said |= certificate_facts(shown.get(node_id))
            await auditor.record(connection, "AddNode", said)

    with operator_errors():
        shown = registry.read_certificates(certificates or [], node_ids)
        audited(context, add)
    for node_id in node_ids:
        out.print(f"node {node_id} is registered in group {group}", markup=False)


@node_app.command("list")
def node_list(context: typer.Context, as_json: Json = False) -> None:
    """List the registered nodes with their last heartbeats."""
    from custody.control_plane.access import nodes as registry

    with operator_errors():
        rows = with_database(context, registry.list_nodes)
    if as_json:
        print_json([_node(row) for row in rows])
        return
    print_table(
        ["id", "group", "owner", "version", "last seen", "health", "capabilities"],
        [
            [
                row.id,
                row.node_group,
                row.owner,
                row.version,
                _time(row.last_seen),
                _health(_fields(row.health)),
                ", ".join(
                    f"{name} ({where})" for name, where in sorted(_fields(row.capabilities).items())
                ),
            ]
            for row in rows
        ],
    )


@node_app.command("remove")
def node_remove(
    context: typer.Context,
    node_id: Annotated[str, typer.Argument(metavar="ID")],
    with_audit_heads: Annotated[
        bool,
        typer.Option(
            "--with-audit-heads",
            help="Delete also the heads that prove its audit chain, and its records.",
        ),
    ] = False,
) -> None:
    """Give a node no more jobs. When its leases lapse, other nodes of its group get its jobs."""
    from custody.control_plane.access import nodes as registry

    async def remove(connection: Connection, auditor: Auditor) -> None:
        deleted = await registry.remove_node(connection, node_id, with_audit_heads)
        said = {"node": node_id, "with_audit_heads": str(with_audit_heads).lower()}
        await auditor.record(connection, "RemoveNode", {**said, **deleted})

    with operator_errors():
        audited(context, remove)
    out.print(f"node {node_id} is removed", markup=False)


@node_app.command("restored")
def node_restored(
    context: typer.Context,
    node_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: Annotated[
        str, typer.Option(help="What you found out, and who told you. It is kept permanently.")
    ],
    by: Annotated[str | None, typer.Option(help="Your name [default: the current user].")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Acknowledge that a node's database lost audit records in a restore from a backup.

    First the node's operator runs `audit restored` on its host. Ask that operator, face to face or
    by telephone, whether the restore was intended, and which records are lost: an attacker on
    the node's host could state a restore to hide records. This deletes nothing: both heads stay
    here with your name and reason until `node remove`, and `audit verify` shows the gap.
    """
    from custody.control_plane.audit import restores as audit_restores

    with operator_errors():
        why = reason_of(reason, "disk failed, Bo restored the backup of 3 March")
        seen = with_database(context, lambda connection: _claimed(connection, node_id))
        out.print(_described(seen), markup=False)
        if not yes:
            typer.confirm("Acknowledge this?", abort=True)

        async def acknowledge(connection: Connection, auditor: Auditor) -> None:
            who = by or operator_name()
            await audit_restores.acknowledge(connection, seen, who, why)
            said = {"node": node_id, "number": str(seen.number), "by": who, "reason": why}
            await auditor.record(connection, "AcknowledgeRestore", said)

        audited(context, acknowledge)
    out.print(f"acknowledged: node {node_id} is ok again from its next heartbeat on", markup=False)


@node_app.command("restores")
def node_restores(
    context: typer.Context,
    node_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: Json = False,
) -> None:
    """Show the restores that a node has stated, and who acknowledged them."""
    with operator_errors():
        found = with_database(context, lambda connection: _restores(connection, node_id))
    if as_json:
        print_json([each.shown.model_dump(mode="json") for each in found])
        return
    print_table(
        [
            "number",
            "lost",
            "lost head",
            "own head",
            "stated",
            "by",
            "why",
            "acknowledged",
            "by",
            "why",
        ],
        [
            [
                each.number,
                each.claim.lost,
                each.claim.kept.hash.hex(),
                f"{each.claim.own.sequence} {each.claim.own.hash.hex()}",
                _time(each.claim.restored.at),
                each.claim.restored.operator,
                each.claim.restored.reason,
                _time(each.acknowledged_at),
                each.acknowledged_by,
                each.acknowledged_reason,
            ]
            for each in found
        ],
    )


async def _restores(connection: Connection, node_id: str) -> list[audit_restores.Restore]:
    """Return a node's restores, oldest first. Raise OperatorError for an unknown node."""
    from custody.control_plane.access import nodes as registry
    from custody.control_plane.audit import restores as audit_restores

    found = await audit_restores.restores_of(connection, [node_id])
    if not found and all(row.id != node_id for row in await registry.list_nodes(connection)):
        raise OperatorError(f"there is no node {node_id}", "See: control-plane node list")
    return found


async def _claimed(connection: Connection, node_id: str) -> audit_restores.Restore:
    """Return the restore that waits for an acknowledgement. Raise OperatorError."""
    found = await _restores(connection, node_id)
    waiting = [each for each in found if each.acknowledged_at is None]
    if not waiting:
        raise OperatorError(
            f"node {node_id} has no restore that waits for an acknowledgement",
            "On the node's host run: mpc-signer (or hsm-driver) audit restored --reason ...",
        )
    return waiting[-1]


def _described(restore: audit_restores.Restore) -> str:
    claim = restore.claim
    return "\n".join(
        [
            f"node {restore.node} states that its database was restored, and signed this:",
            f"  gone:       {claim.lost}; the last one's hash is {claim.kept.hash.hex()}",
            f"  it has now: {claim.own.sequence} records; the last one's hash is "
            f"{claim.own.hash.hex()}",
            f"  in common:  {claim.restored.agreed.sequence} records",
            f"  stated at:  {_time(claim.restored.at)} by {printable(claim.restored.operator)}",
            f"  reason:     {printable(claim.restored.reason)}",
        ]
    )


def _node(row: AnyRow) -> dict[str, object]:
    return {
        "id": row.id,
        "group": row.node_group,
        "owner": row.owner,
        "version": row.version,
        "last_seen": row.last_seen,
        "health": row.health,
        "capabilities": row.capabilities,
    }


def _health(health: dict[str, Any]) -> str | None:
    status, warnings = health.get("status"), health.get("warnings") or []
    return f"{status}, warnings: {'; '.join(warnings)}" if warnings else status


def _fields(stored: object) -> dict[str, object]:
    """Return a JSON object of the database; an empty one for anything else."""
    return stored if isinstance(stored, dict) else {}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def main() -> None:
    """Entry point."""
    app()
