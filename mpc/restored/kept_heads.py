"""Compares the audit chain with the head that the control plane keeps, once after each start.

A host may be set back together with its database, for example to a snapshot of a virtual machine.
Then the marks agree. But the control plane keeps a head of an audit record that is missing.
"""

import asyncio

import structlog

from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.node.audit_records import Kept, read_kept
from custody.node.audit_restore import lost_heads
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
)
from custody.wire.signed_bytes import SigningKey
from mpc.restored.watch import RestoreWatch

RETRY_SECONDS = 2.0

log = structlog.get_logger()


class KeptHeads:
    def __init__(
        self,
        pool: Pool,
        node: str,
        signer: SigningKey,
        client: ControlPlaneClient,
        restore_watch: RestoreWatch,
    ) -> None:
        self._pool = pool
        self._node = node
        self._signer = signer
        self._client = client
        self._restore_watch = restore_watch
        self._is_compared = False

    def problem(self) -> str | None:
        """Return why this signer takes no work; None once the heads are compared."""
        if self._is_compared:
            return None
        return "the audit chain is not compared with the head that the control plane keeps yet"

    async def compare(self) -> None:
        """Notice a restore if the last kept head is not in the chain. Raise errors of both ends.

        A head that this signer has not signed proves nothing: `audit verify` shows it.
        """
        if self._is_compared:
            return
        answer = await self._client.audit_heads()
        last = answer.model_copy(
            update={"heads": answer.heads[-1:], "set_aside": (), "restores": ()}
        )
        kept: Kept = read_kept(last, self._signer, self._node)
        lost = await lost_heads(self._pool, self._node, self._signer, kept)
        if lost and lost[-1].head.hash != self._restore_watch.lost_head:
            head = lost[-1].head
            await self._restore_watch.notice(
                f"the control plane keeps the head of audit record {head.sequence}, which the "
                "database lacks",
                head.hash,
            )
        self._is_compared = True

    async def compare_repeatedly(self) -> None:
        """Compare until that has succeeded."""
        while not self._is_compared:
            try:
                await self.compare()
            except (ControlPlaneUnavailable, ControlPlaneRefused) as error:
                log.warning("the audit chain is not compared yet", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(RETRY_SECONDS)
