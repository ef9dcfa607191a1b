"""Backups of the control plane: its database, and the key that signs jobs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custody.backup.daemon import Advance, Daemon, DatabaseCheck, DatabaseFacts
from custody.control_plane.audit.heads import BadHead, open_head
from custody.control_plane.database import TREE
from custody.control_plane.job_signing_key.files import KeyFiles
from custody.database.pool import Pool
from custody.runtime.errors import ConfigurationError
from custody.wire.signed_bytes import SignedBytes, signing_key_id

if TYPE_CHECKING:
    from custody.control_plane.settings import Settings

PROGRAM = "control-plane"
PAGE = 1000
SHOWN = 10

_COUNT = "SELECT count(*) AS number FROM audit_heads"
_HEADS = """
    SELECT head.node_id, head.sequence, head.payload, head.signature, head.signing_key_id,
        nodes.identity_public_key
    FROM audit_heads AS head JOIN nodes ON nodes.id = head.node_id
    ORDER BY CASE WHEN :sample::bigint IS NULL THEN 0 ELSE random() END, node_id, sequence
    LIMIT coalesce(:sample::bigint, :limit) OFFSET :offset
"""


def daemon_of(settings: Settings, config: Path) -> Daemon:
    """Return what the backup commands need of a control plane. Raise OperatorError."""
    if settings.backup is None:
        raise ConfigurationError(
            f"{config} has no section [backup]",
            "Add it, with folder and recipients: docs/how-to/back-up.md, 'Set it up once'.",
        )
    key_files = KeyFiles(settings.jobs.signing_key)
    previous, following = key_files.load_previous(), key_files.load_next()
    public_api, node_api, database = settings.public_api, settings.node_api, settings.database
    files = (
        config.resolve(), database.url_file, settings.jobs.signing_key, public_api.certificate,
        public_api.private_key, node_api.certificate, node_api.private_key, node_api.client_ca,
        node_api.crl,
        settings.backup.scratch_url_file, None if following is None else key_files.next,
    )  # fmt: skip
    return Daemon(
        program=PROGRAM,
        node=PROGRAM,
        group=None,
        tree=TREE,
        database_url=database.read_url(),
        section=settings.backup,
        state_directory=settings.backup.state_directory,
        signer=settings.jobs.signer(),
        earlier_keys=() if previous is None else (previous.public_key,),
        folder=config.resolve().parent,
        files=tuple(path for path in files if path is not None),
        secrets=(),
        facts=lambda _: DatabaseFacts(),
        check=_verify_heads,
        next_steps=_next_steps,
    )


def _next_steps(backed_up_at: datetime) -> list[str]:
    since = backed_up_at.isoformat(timespec="seconds")
    return [
        f"next, before serve: {PROGRAM} reconcile, which asks the nodes for keys and outcomes that "
        "this database lacks",
        "next, before serve: revoke and remove again what you have revoked and removed since "
        f"{since}: {PROGRAM} token list, {PROGRAM} node list",
        f"next, after serve: for each node whose restore you have acknowledged since {since}: "
        f"audit restored on its host, then {PROGRAM} node restored NODE",
    ]


async def _verify_heads(url: str, sample: int | None, advance: Advance) -> DatabaseCheck:
    """Check that the nodes have signed the audit heads: the proof of the nodes' own chains."""
    tried, earlier, bad = 0, 0, list[str]()
    async with Pool(url, 1, f"{PROGRAM} backup verify") as pool:
        in_all = (await pool.rows(_COUNT))[0].number
        wanted = min(in_all, sample or in_all)
        place = {"sample": sample, "limit": PAGE}
        while rows := await pool.rows(_HEADS, {**place, "offset": tried}):
            for row in rows:
                if row.identity_public_key is None or row.signing_key_id != signing_key_id(
                    row.identity_public_key
                ):
                    earlier += 1
                elif (fault := _fault(row)) is not None:
                    bad.append(fault)
            tried += len(rows)
            advance("audit heads", tried, wanted)
            if sample is not None:
                break
    said = [f"{tried - earlier - len(bad)} of {tried} audit heads tried are signed by their nodes"]
    if earlier:
        said.append(f"{earlier} audit heads are under an earlier key of their node: not checked")
    findings = bad[:SHOWN]
    if len(bad) > SHOWN:
        findings.append(f"and {len(bad) - SHOWN} more audit heads")
    return DatabaseCheck(tried, in_all, said, findings)


def _fault(row: Any) -> str | None:
    signed = SignedBytes(
        payload=row.payload, signature=row.signature, signing_key_id=row.signing_key_id
    )
    try:
        head = open_head(row.node_id, row.identity_public_key, signed)
    except BadHead as error:
        return f"audit head {row.sequence} of node {row.node_id}: {error}"
    if head.sequence != row.sequence:
        return f"audit head {row.sequence} of node {row.node_id} was signed as {head.sequence}"
    return None
