"""Sends the node's audit records to the control plane, if the node's owner lets it.

The control plane names the last record that it has. So a page that was lost is sent again, and a
control plane that was restored from a backup gets the records that its backup lacks. Nothing waits
for this task: a failure is logged once, and tried again later.
"""

import asyncio
from collections.abc import Sequence

import structlog

from custody.database.causes import is_transient
from custody.database.connection import Row
from custody.database.pool import Pool
from custody.node.audit import sign_head
from custody.node.audit_checkpoint import last_checkpoint
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
)
from custody.wire.audit import BEGIN, AuditHead, AuditPlace, chain_hash
from custody.wire.node_api import MAX_AUDIT_BYTES, MAX_AUDIT_RECORDS, AuditRecordsRequest
from custody.wire.signed_bytes import SignedBytes, SigningKey

IDLE_SECONDS = 5.0
"""Seconds until the next page, after one that was not full, and after the first failure."""
FULL_PAGE_SECONDS = 0.05
"""Seconds after a full page: a long chain that is sent for the first time leaves time for jobs."""
LONGEST_PAUSE = 60.0
"""Seconds between tries while something is wrong."""
LONGEST_ASKED = 600.0
"""Seconds between tries if the control plane asks for a longer pause, as when it has no space."""

_FROM = """
    SELECT sequence, record, hash FROM audit
    WHERE node = :node AND sequence >= :first ORDER BY sequence LIMIT :limit
"""

log = structlog.get_logger()


class NotSendable(Exception):
    """The node's database does not have the records that the control plane lacks."""


class AuditSender:
    """Sends pages of records in order, each with the signed head of its last record."""

    def __init__(
        self,
        client: ControlPlaneClient,
        pool: Pool,
        node: str,
        signer: SigningKey,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._client = client
        self._pool = pool
        self._node = node
        self._signer = signer
        self._idle_seconds = idle_seconds
        self._kept: AuditPlace | None = None
        self._problem: str | None = None

    async def run(self) -> None:
        """Send pages until cancelled."""
        pause = self._idle_seconds
        await asyncio.sleep(pause)  # a new node's first heartbeat comes before its records
        while True:
            asked = 0.0
            try:
                is_full = await self.send()
            except (ControlPlaneUnavailable, ControlPlaneRefused, NotSendable) as error:
                self._failed(str(error))
                asked = getattr(error, "retry_after", None) or 0.0
            except Exception as error:
                self._failed(type(error).__name__, None if is_transient(error) else error)
            else:
                self._worked()
                pause = self._idle_seconds
                await asyncio.sleep(FULL_PAGE_SECONDS if is_full else pause)
                continue
            self._kept = None
            await asyncio.sleep(max(pause, min(asked, LONGEST_ASKED)))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def send(self) -> bool:
        """Send the next page, if there is one. Return True if more records may follow at once.

        Raise ControlPlaneUnavailable, ControlPlaneRefused, NotSendable, and database errors.
        """
        if self._kept is None:
            question = AuditRecordsRequest(after=BEGIN)
            self._kept = (await self._client.audit_records(question)).kept
        page = await self._page(self._kept)
        if page is None:
            return False
        end = page.after.sequence + len(page.records)
        self._kept = (await self._client.audit_records(page)).kept
        return self._kept.sequence == end and _is_full(page)

    async def _page(self, kept: AuditPlace) -> AuditRecordsRequest | None:
        """Return the next page after a place; None if there are no records after it."""
        rows = await self._rows(kept.sequence)
        if kept.sequence > 0:
            if not rows or (rows[0].sequence, rows[0].hash) != (kept.sequence, kept.hash):
                return await self._page_after_checkpoint(kept)
            rows = rows[1:]
        if not rows:
            return None
        if rows[0].sequence != kept.sequence + 1:
            return await self._page_after_checkpoint(kept)
        return self._signed(kept, rows)

    async def _page_after_checkpoint(self, kept: AuditPlace) -> AuditRecordsRequest:
        """Return the first page after a pruned part of the chain. Raise NotSendable."""
        stated, _ = await last_checkpoint(self._pool.rows, self._node, self._signer)
        begin = None if stated is None else stated.checkpoint.place
        is_pruned = begin is not None and (begin.sequence > kept.sequence or begin == kept)
        if stated is None or begin is None or not is_pruned:
            raise NotSendable(
                f"the control plane has record {kept.sequence} of this node, and this database "
                "does not. Run: audit verify. If the database was restored from a backup, run: "
                "audit restored"
            )
        rows = await self._rows(begin.sequence + 1)
        if not rows or rows[0].sequence != begin.sequence + 1:
            raise NotSendable(f"record {begin.sequence + 1} is missing. Run: audit verify")
        return self._signed(begin, rows, stated.signed)

    async def _rows(self, first: int) -> Sequence[Row]:
        limit = MAX_AUDIT_RECORDS + 1  # one of them is the record that the page follows
        values = {"node": self._node, "first": first, "limit": limit}
        return await self._pool.rows(_FROM, values)

    def _signed(
        self, after: AuditPlace, rows: Sequence[Row], checkpoint: SignedBytes | None = None
    ) -> AuditRecordsRequest:
        """Return a page of the rows that follow a place, as many as it may have.

        Each hash is computed again: this node signs no head of a changed record.
        """
        records, size = list[bytes](), 0
        end = after
        for row in rows[:MAX_AUDIT_RECORDS]:
            size += len(row.record)
            if row.sequence != end.sequence + 1 or (records and size > MAX_AUDIT_BYTES):
                break
            if chain_hash(end.hash, row.record) != row.hash:
                if records:
                    break  # the records before it can be sent
                raise NotSendable(f"record {row.sequence} was changed. Run: audit verify")
            end = AuditPlace(sequence=row.sequence, hash=row.hash)
            records.append(row.record)
        head = AuditHead(node=self._node, sequence=end.sequence, hash=end.hash)
        return AuditRecordsRequest(
            after=after,
            records=tuple(records),
            head=sign_head(head, self._signer),
            checkpoint=checkpoint,
        )

    def _failed(self, problem: str, bug: Exception | None = None) -> None:
        """Log the first failure, and each failure that is of another kind."""
        if problem != self._problem:
            log.warning("audit records not sent, trying again", error=problem, exc_info=bug)
        self._problem = problem

    def _worked(self) -> None:
        if self._problem is not None:
            log.info("audit records are sent again")
        self._problem = None


def _is_full(page: AuditRecordsRequest) -> bool:
    size = sum(map(len, page.records))
    return len(page.records) == MAX_AUDIT_RECORDS or size > MAX_AUDIT_BYTES // 2
