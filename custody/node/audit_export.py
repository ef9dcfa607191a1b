"""`audit export`: a node's records as JSON lines, to a file, to stdout or to a syslog server."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

from custody.database.pool import Pool
from custody.node.audit import sign_head
from custody.node.audit_checkpoint import last_checkpoint
from custody.runtime.audit_file import Line
from custody.runtime.audit_lines import Place, head_line, record_line
from custody.runtime.errors import OperatorError
from custody.runtime.exported_chain import next_place, place_in_chain
from custody.wire.audit import GENESIS, AuditHead
from custody.wire.signed_bytes import SigningKey

PAGE = 500
VERIFY = "Run: audit verify."
Heads = Mapping[int, set[bytes]]
"""The hashes of the heads that this node has signed before, by the record's number."""

_PAGE = """
    SELECT sequence, record, hash FROM audit
    WHERE node = :node AND sequence > :last ORDER BY sequence LIMIT :limit
"""
_HASH = "SELECT hash FROM audit WHERE node = :node AND sequence = :sequence"


async def place_at(pool: Pool, node: str, signer: SigningKey, sequence: int) -> Place:
    """Return the place of a record of this chain. Raise OperatorError if there is none.

    The chain before its first record begins at the last checkpoint, if records were pruned.
    """
    last, _ = await last_checkpoint(pool.rows, node, signer)
    begin = Place(0, GENESIS)
    if last is not None:
        begin = Place(last.checkpoint.sequence, last.checkpoint.hash)
    row = await pool.row(_HASH, {"node": node, "sequence": sequence})
    return place_in_chain(
        sequence,
        begin,
        None if row is None else row.hash,
        chain=f"the chain of {node}",
        hint="Name a new file, or give --after the number of a later record. If this database was "
        "restored from a backup, run: audit verify.",
    )


async def lines_after(
    pool: Pool,
    node: str,
    signer: SigningKey,
    after: Place,
    *,
    needs_head: bool = False,
    kept: Heads | None = None,
) -> AsyncIterator[Line]:
    """Yield the records after a place, as they are now, and then the signed head.

    No head follows if there is no new record, unless ``needs_head``. ``kept``: the heads that the
    control plane keeps, if they are compared. Raise OperatorError at a record that does not follow
    from the record before it, or that contradicts a kept head.
    """
    place, kept = after, kept or {}
    _require_kept(place, kept)
    while page := await pool.rows(_PAGE, {"node": node, "last": place.sequence, "limit": PAGE}):
        for row in page:
            text = record_line(row.sequence, row.record, place.hash, row.hash)
            place = next_place(place, row.sequence, row.record, row.hash, VERIFY)
            _require_kept(place, kept)
            yield Line(place, text)
    last = max(kept, default=0)
    if last > place.sequence:
        raise OperatorError(
            f"this node has signed and reported {last} records, and the database ends at "
            f"{place.sequence}",
            VERIFY,
        )
    if place != after or needs_head:
        head = AuditHead(node=node, sequence=place.sequence, hash=place.hash)
        at = datetime.now(UTC).isoformat()
        yield Line(place, head_line(head, sign_head(head, signer), at), is_head=True)


def _require_kept(place: Place, kept: Heads) -> None:
    if not kept.get(place.sequence, {place.hash}) <= {place.hash}:
        raise OperatorError(
            f"record {place.sequence} differs from the head that this node signed and reported",
            VERIFY,
        )
