"""The nodes that the operator has registered: a certificate alone gets no work.

Every certificate names its node, also one that was issued years ago. So a node that was removed is
added again together with its new certificate. From then on the control plane accepts certificates
of this node that begin when the new one begins, or later: a renewal does, an old one does not. Both
times are of the clock of the authority that issues them.
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from custody.control_plane.audit.restores import Restore, restores_of
from custody.control_plane.database import AnyRow
from custody.database.connection import Connection
from custody.runtime.errors import OperatorError
from custody.runtime.tls import load_certificates
from custody.wire.nodes import NODE_ID, node_of, node_urn

_ADD = """
    INSERT INTO nodes (id, node_group, owner) VALUES (:id, :group, :owner) ON CONFLICT DO NOTHING
"""

_WAS_REMOVED = "SELECT removed_at FROM removed_nodes WHERE id = :id"

_ACCEPT_FROM = "UPDATE nodes SET certificates_from = :from WHERE id = :id"

_NODE = "SELECT node_group, owner FROM nodes WHERE id = :id"

# what the node sends now waits for the removal, and then finds no node
_LOCK = "SELECT FROM nodes WHERE id = :id FOR UPDATE"

BATCH = 10_000
"""Rows that one statement of a removal deletes: a node may have stored many millions."""

_SOME_HEADS = """
    SELECT count(*) AS heads
    FROM (SELECT FROM audit_heads WHERE node_id = :id LIMIT :limit) AS first
"""

_LAST_HEAD = """
    SELECT sequence, hash FROM audit_heads WHERE node_id = :id AND set_aside_by IS NULL
    ORDER BY sequence DESC LIMIT 1
"""

# by sequence, so that no statement reads again what an earlier one has deleted
_DELETE_BATCH = """
    WITH batch AS (
        SELECT max(sequence) AS last FROM (
            SELECT sequence FROM {table} WHERE node_id = :id AND sequence > :after
            ORDER BY sequence LIMIT :limit
        ) AS first
    ), deleted AS (
        DELETE FROM {table} USING batch
        WHERE node_id = :id AND sequence > :after AND sequence <= batch.last
        RETURNING sequence
    )
    SELECT batch.last, (SELECT count(*) FROM deleted) AS deleted FROM batch
"""

_REMOVE = (
    """
    INSERT INTO removed_nodes (id) VALUES (:id)
    ON CONFLICT (id) DO UPDATE SET removed_at = now()
    """,
    "DELETE FROM audit_restores WHERE node_id = :id",
    "DELETE FROM nodes WHERE id = :id",
)

_ALL = """
    SELECT id, node_group, owner, version, last_seen, health, capabilities FROM nodes ORDER BY id
"""


def read_certificates(paths: Sequence[Path], nodes: Sequence[str]) -> dict[str, x509.Certificate]:
    """Return the leafs of some files by the node that each names. Raise OperatorError."""
    found = {}
    for path in paths:
        leaf = load_certificates(path)[0]
        try:
            node = node_of(leaf)
        except ValueError as error:
            raise OperatorError(
                f"{path}: {error}", "Give the file that `pki sign node` made."
            ) from None
        if node not in nodes:
            raise OperatorError(
                f"the certificate {path} is of node {node}, which is not among those to add",
                "Give the certificate.pem of a node that this command names.",
            )
        found[node] = leaf
    return found


async def add_node(
    connection: Connection,
    node_id: str,
    group: str,
    owner: str | None = None,
    certificate: x509.Certificate | None = None,
) -> None:
    """Register a node; once more with the same group and owner changes nothing else.

    ``certificate``: the node's certificate. Earlier ones are refused from within a second; without
    it a new node may show any. Raises OperatorError, also for a node that was removed before, and
    is added without a certificate.
    """
    try:
        node_urn(node_id)
    except ValueError as error:
        raise OperatorError(str(error), "Give the id that its certificate names.") from None
    if not NODE_ID.fullmatch(group):
        raise OperatorError(
            f"{group!r} is not a group's name: use 1 to 63 of a-z, 0-9, '.', '_' and '-'",
            "Give the group that the node's configuration names.",
        )
    if certificate is None:
        await _require_new(connection, node_id)
    await connection.rows(_ADD, {"id": node_id, "group": group, "owner": owner})
    [row] = await connection.rows(_NODE, {"id": node_id})
    if (row.node_group, row.owner) != (group, owner):
        whose = "" if row.owner is None else f", as {row.owner}'s"
        raise OperatorError(
            f"node {node_id} is registered already, in group {row.node_group}{whose}",
            f"Run: control-plane node remove {node_id}, then add it again with its certificate "
            "(--certificate FILE): docs/how-to/take-access-away.md",
        )
    if certificate is not None:
        begins = certificate.not_valid_before_utc
        await connection.rows(_ACCEPT_FROM, {"id": node_id, "from": begins})


async def _require_new(connection: Connection, node_id: str) -> None:
    removed = await connection.row(_WAS_REMOVED, {"id": node_id})
    if removed is None or await connection.row(_NODE, {"id": node_id}) is not None:
        return
    raise OperatorError(
        f"node {node_id} was removed at {removed.removed_at:%Y-%m-%d %H:%M:%S} UTC, and its old "
        "certificates are still valid for it",
        "Give its new certificate with --certificate FILE (copy certificate.pem here: it is not "
        "secret). Earlier certificates are then refused: docs/how-to/take-access-away.md",
    )


async def remove_node(
    connection: Connection, node_id: str, with_audit_heads: bool
) -> dict[str, str | None]:
    """Let a node have no more work, from within a second. Raises OperatorError.

    Return what an audit record must state, because it is deleted here: the node's last head, the
    number of heads and records, and each restore with the heads of its gap.
    """
    which = {"id": node_id}
    if await connection.row(_LOCK, which) is None:
        raise OperatorError(
            f"no node {node_id} is registered", "See which are: control-plane node list"
        )
    [some] = await connection.rows(_SOME_HEADS, {**which, "limit": BATCH})
    if some.heads and not with_audit_heads:
        at_least = "at least " if some.heads == BATCH else ""
        raise OperatorError(
            f"{at_least}{some.heads} audit heads of node {node_id} are kept here, the proof of its "
            "audit chain",
            "Run `hsm-driver audit verify` on its host, then repeat this with --with-audit-heads.",
        )
    ends = await _ends(connection, node_id)
    heads = await _delete_all(connection, "audit_heads", node_id)
    records = await _delete_all(connection, "node_audit_records", node_id)
    for sql in _REMOVE:
        await connection.rows(sql, which)
    return {"heads": str(heads), "records": str(records), **ends}


async def _delete_all(connection: Connection, table: str, node_id: str) -> int:
    """Delete a node's rows in batches: each statement has a time limit. Return their number."""
    sql, in_all, after = _DELETE_BATCH.format(table=table), 0, -1
    while True:
        [row] = await connection.rows(sql, {"id": node_id, "after": after, "limit": BATCH})
        if row.last is None:
            return in_all
        in_all, after = in_all + row.deleted, row.last


async def _ends(connection: Connection, node_id: str) -> dict[str, str | None]:
    said = dict[str, str | None]()
    last = await connection.row(_LAST_HEAD, {"id": node_id})
    if last is not None:
        said = {"last_sequence": str(last.sequence), "last_hash": last.hash.hex()}
    restores = await restores_of(connection, [node_id])
    return {**said, **{f"restore_{each.number}": _gap(each) for each in restores}}


def _gap(restore: Restore) -> str:
    claim = restore.claim
    who = restore.acknowledged_by
    return (
        f"lost {claim.lost}, the last with hash {claim.kept.hash.hex()}; then had "
        f"{claim.own.sequence} records, the last with hash {claim.own.hash.hex()}; "
        + ("not acknowledged" if who is None else f"acknowledged by {who}")
    )


async def list_nodes(connection: Connection) -> Sequence[AnyRow]:
    """Return every registered node, by id."""
    return await connection.rows(_ALL)
