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

_PROOFS = """
    SELECT (SELECT count(*) FROM audit_heads WHERE node_id = :id) AS heads,
        (SELECT count(*) FROM node_audit_records WHERE node_id = :id) AS records
"""

_LAST_HEAD = """
    SELECT sequence, hash FROM audit_heads WHERE node_id = :id AND set_aside_by IS NULL
    ORDER BY sequence DESC LIMIT 1
"""

_REMOVE = (
    """
    INSERT INTO removed_nodes (id) VALUES (:id)
    ON CONFLICT (id) DO UPDATE SET removed_at = now()
    """,
    "DELETE FROM node_audit_records WHERE node_id = :id",
    "DELETE FROM audit_heads WHERE node_id = :id",
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
    deleted = await _deleted(connection, node_id)
    if deleted["heads"] != "0" and not with_audit_heads:
        raise OperatorError(
            f"{deleted['heads']} audit heads of node {node_id} are kept here, the proof of its "
            "audit chain",
            "Run `hsm-driver audit verify` on its host, then repeat this with --with-audit-heads.",
        )
    for sql in _REMOVE:
        await connection.rows(sql, which)
    return deleted


async def _deleted(connection: Connection, node_id: str) -> dict[str, str | None]:
    which = {"id": node_id}
    [proofs] = await connection.rows(_PROOFS, which)
    said = {"heads": str(proofs.heads), "records": str(proofs.records)}
    last = await connection.row(_LAST_HEAD, which)
    if last is not None:
        said |= {"last_sequence": str(last.sequence), "last_hash": last.hash.hex()}
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
