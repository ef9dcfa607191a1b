"""What the backups of both modes share: the node's files, its audit head and its audit chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from custody.backup.daemon import Advance, Daemon, DatabaseCheck, DatabaseFacts, Newer, Rows
from custody.database.pool import Pool
from custody.node.audit_records import read_kept
from custody.node.audit_restore import lost_heads
from custody.node.chain_verification import KeyCheck, Subject, verify_chain
from custody.node.connections import open_client, open_database, schema_of
from custody.node.control_plane_client import ControlPlaneRefused, ControlPlaneUnavailable
from custody.node.forgotten_archivals import CLOCKS_DIFFER, archive_again, archived_again
from custody.node.identity import load_identity
from custody.node.settings import NodeSettings
from custody.runtime.errors import ConfigurationError, OperatorError
from custody.runtime.operators import operator_name
from custody.wire.audit import GENESIS, AuditHead
from custody.wire.node_api import ChangedKey
from custody.wire.signed_bytes import SigningKey

CONNECTIONS = 8
UNARCHIVED_AS_BEFORE = "Nothing. A request un-archives it, as before."
SHOWN = 10
"""Findings of one kind that are shown."""

VerifyKeys = Callable[[Pool, int | None, Advance], Awaitable[DatabaseCheck]]
"""Tries every key, or a random sample, of a restored database."""

Lacking = Callable[[Pool, Sequence[ChangedKey]], Awaitable[list[Newer]]]
"""Returns the keys that the database lacks, or has in an older generation."""

_HEAD = """
    SELECT sequence, hash FROM audit WHERE node = %(node)s ORDER BY sequence DESC LIMIT 1
"""


def node_daemon(
    settings: NodeSettings,
    config: Path,
    *,
    files: tuple[Path | None, ...],
    secrets: tuple[Path | None, ...],
    known_keys: str,
    check_keys: KeyCheck,
    verify_keys: VerifyKeys,
    lacking: Lacking,
    group: str,
    removable: tuple[str, ...],
) -> Daemon:
    """Return what the backup commands need of a node. Raise ConfigurationError.

    ``files``, ``secrets``: the mode's. ``known_keys``: the query of ids and check values of the
    keys that encrypt the node's own. ``lacking``: compares keys of the control plane with the
    database. ``group``: the commands about the node's keys. ``removable``: the commands about
    what an operator removes from the database.
    """
    if settings.backup is None:
        raise ConfigurationError(
            f"{config} has no section [backup]",
            "Add it, with folder and recipients: docs/how-to/back-up.md, 'Set it up once'.",
        )
    signer = load_identity(settings.identity.private_key)
    return Daemon(
        program=settings.program,
        node=settings.node.id,
        group=settings.node.group,
        tree=schema_of(settings.program),
        database_url=settings.database.read_url(),
        section=settings.backup,
        state_directory=settings.node.state_directory,
        signer=signer,
        folder=config.resolve().parent,
        files=_present(config.resolve(), *_node_files(settings), *files),
        secrets=_present(*secrets),
        facts=lambda rows: _facts(rows, settings.node.id, known_keys),
        check=_NodeCheck(settings, signer, check_keys, verify_keys),
        next_steps=partial(next_steps, settings.program, group, removable),
        newer=partial(_newer, settings, signer, lacking),
    )


def next_steps(
    program: str, group: str, removable: Sequence[str], backed_up_at: datetime
) -> list[str]:
    """Return what an operator repeats on the host, because nobody else knows that it was done."""
    since = backed_up_at.isoformat(timespec="seconds")
    lists = ", ".join(f"{program} {each} list" for each in removable)
    return [
        f"next, before run: {program} {group} archivals lists what is archived here; repeat what "
        f"an operator has done on the host since {since}: {program} {group} archive KEY "
        "--reason TEXT, or unarchive",
        "next, before run: add and remove again what you have added and removed since then: "
        f"{lists}",
        f"next, before run: {program} freeze --reason TEXT, if the node was frozen: a freeze is "
        "not in a backup",
    ]


def _present(*paths: Path | None) -> tuple[Path, ...]:
    return tuple(path for path in paths if path is not None)


def _node_files(settings: NodeSettings) -> tuple[Path | None, ...]:
    gate, control_plane, backup = settings.gate, settings.control_plane, settings.backup
    return (
        settings.database.url_file,
        settings.identity.private_key,
        control_plane.ca,
        control_plane.certificate,
        control_plane.private_key,
        control_plane.crl,
        *(() if gate is None else (gate.ca, gate.certificate, gate.private_key, gate.crl)),
        None if gate is None else gate.hmac_key_file,
        None if backup is None else backup.scratch_url_file,
    )


def _facts(rows: Rows, node: str, known_keys: str) -> DatabaseFacts:
    last = next(iter(rows(_HEAD, {"node": node})), None)
    head = (
        AuditHead(node=node, sequence=0, hash=GENESIS)
        if last is None
        else AuditHead(node=node, sequence=last.sequence, hash=bytes(last.hash))
    )
    known = {row.id: bytes(row.check_value).hex() for row in rows(known_keys)}
    return DatabaseFacts(head, known)


async def _newer(
    settings: NodeSettings, signer: SigningKey, lacking: Lacking, since: datetime
) -> list[Newer]:
    """Return the audit heads and keys of the control plane that the database lacks.

    Keys that were archived since are archived again at once, before the node signs.
    ``since`` is the backup's time, by this host's clock; the control plane's may differ.
    """
    program, node = settings.program, settings.node.id
    try:
        async with open_client(settings) as client, open_database(settings) as pool:
            kept = read_kept(await client.audit_heads(), signer, node)
            answer = await client.changed_keys(since - CLOCKS_DIFFER)
            lost = await lost_heads(pool, node, signer, kept)
            found = await lacking(pool, answer.keys)
            again = await archive_again(pool, node, answer.archived, operator_name())
            found += [Newer(archived_again(each), UNARCHIVED_AS_BEFORE) for each in again]
    except (ControlPlaneUnavailable, ControlPlaneRefused) as error:
        raise OperatorError(
            f"the control plane did not answer: {error}", "Correct that fault, and ask again."
        ) from None
    if not answer.is_complete:
        found.append(
            Newer(
                f"more than {len(answer.keys)} keys since then: only the newest are compared",
                f"Restore a newer backup, or run {program} audit verify after the audit is stated.",
            )
        )
    if lost:
        found.insert(
            0,
            Newer(
                f"audit records up to {lost[-1].head.sequence}: this chain lacks {len(lost)} heads "
                "that this node reported",
                f"{program} audit restored --reason ...; then an admin: control-plane node "
                f"restored {node} --reason ...",
            ),
        )
    return found


class _NodeCheck:
    """Checks the restored audit chain, then the mode's keys."""

    def __init__(
        self,
        settings: NodeSettings,
        signer: SigningKey,
        check_keys: KeyCheck,
        verify_keys: VerifyKeys,
    ) -> None:
        self._settings = settings
        self._signer = signer
        self._check_keys = check_keys
        self._verify_keys = verify_keys

    async def __call__(self, url: str, sample: int | None, advance: Advance) -> DatabaseCheck:
        async with Pool(url, CONNECTIONS, f"{self._settings.program} backup verify") as pool:
            said, findings = await self._chain(pool, advance)
            checked = await self._verify_keys(pool, sample, advance)
        return DatabaseCheck(
            checked.tried, checked.in_all, [*said, *checked.said], [*findings, *checked.findings]
        )

    async def _chain(self, pool: Pool, advance: Advance) -> tuple[list[str], list[str]]:
        subject = Subject(self._settings.node.id, self._signer, others=None)
        found = await verify_chain(
            pool,
            subject,
            None,
            self._check_keys,
            lambda done, total: advance("audit records", done, total),
        )
        findings = [f"audit record {each.sequence}: {each.what}" for each in found.findings[:SHOWN]]
        if found.findings_in_all > len(findings):
            findings.append(f"and {found.findings_in_all - len(findings)} more of the audit chain")
        said = [] if findings else [f"{found.records} audit records: nothing found"]
        return said, findings


def check_of_keys(kind: str, keys: int, in_all: int, bad: list[Any]) -> DatabaseCheck:
    """Return the check of keys that were tried. ``bad``: one text for each unusable key."""
    findings = [str(each) for each in bad[:SHOWN]]
    if len(bad) > SHOWN:
        findings.append(f"and {len(bad) - SHOWN} more {kind}")
    said = [f"{keys - len(bad)} of {keys} {kind} tried are usable; the backup has {in_all}"]
    return DatabaseCheck(keys, in_all, said, findings)
