"""The share copies of a signer: made together with the share, and required before a promise."""

import asyncio
import contextlib
import hashlib
from typing import Any

from custody.database.pool import Pool
from custody.node.database_away import database_needed
from custody.node.errors import Failed
from custody.node.handlers import RowChange
from custody.wire.signed_bytes import SigningKey
from mpc._native import Share
from mpc.layer4 import copy_queries
from mpc.layer4.customer_key import CustomerKey, read_customer_key
from mpc.layer4.putting import Putter
from mpc.layer4.settings import Layer4Section
from mpc.layer4.share_copy import make_share_copy
from mpc.shares.shares import Shares
from mpc.shares.stored_share import StoredShare

PATIENCE = 5.0
"""Seconds that a promise waits for the bucket; the control plane asks again later."""


class ShareCopies:
    """Makes share copies, and says whether the bucket has them."""

    def __init__(
        self,
        pool: Pool,
        signer: SigningKey,
        shares: Shares,
        section: Layer4Section,
        putter: Putter,
        patience: float | None = None,
    ) -> None:
        self._pool = pool
        self._signer = signer
        self._shares = shares
        self._prefix = section.prefix
        self._customer_key: CustomerKey = read_customer_key(section.customer_key_file)
        self._putter = putter
        self.tls = putter.tls
        self._patience = PATIENCE if patience is None else patience

    async def row(self, stored: StoredShare, share: Share) -> RowChange:
        """Return the row of a share's copy. The caller commits it together with the share."""
        content = await asyncio.to_thread(self._encrypted, stored, share)
        values = {
            "key_id": stored.key_id,
            "ceremony": stored.ceremony,
            **self._putter.here,
            "name": object_name(self._prefix, stored, content),
            "content": content,
        }
        return RowChange(copy_queries.INSERT, values, after=self._putter.wake)

    async def make(self, stored: StoredShare) -> None:
        """Make the copy of a share that has none. Raise Failed if the share cannot be opened."""
        row = await self.row(stored, await self._shares.open(stored))
        await self._rows(row.sql, row.alone)
        self._putter.wake()

    async def require_stored(self, stored: StoredShare) -> None:
        """Wait a little until the bucket has the share's copy. Raise Failed if it has not.

        A share from before Layer 4 was on, or before the bucket was another one, gets its copy
        now.
        """
        place = {"key_id": stored.key_id, "ceremony": stored.ceremony, **self._putter.here}
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._patience
        is_first = True
        while True:
            progress = self._putter.progress()
            rows = await self._rows(copy_queries.FIND, place)
            if rows and rows[0].stored_at is not None:
                return
            if not rows:
                await self.make(stored)
                continue
            if is_first:
                is_first = False
                await self._rows(copy_queries.RETRY_NOW, place)
                self._putter.wake()
            left = deadline - clock.time()
            if left <= 0:
                raise _missing(rows[0])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(progress.wait(), left)

    def _encrypted(self, stored: StoredShare, share: Share) -> bytes:
        return self._customer_key.encrypt(make_share_copy(stored, share, self._signer))

    async def _rows(self, sql: str, parameters: dict[str, Any]) -> list[Any]:
        with database_needed():
            return await self._pool.rows(sql, parameters)


def object_name(prefix: str, stored: StoredShare, content: bytes) -> str:
    """Return the name of a share copy. Nobody can know the name before the bytes exist."""
    digest = hashlib.sha256(content).hexdigest()
    return f"{prefix}{stored.key_id}/{stored.generation}-{stored.ceremony}-{digest}.age"


def _missing(copy: Any) -> Failed:
    why = copy.last_fault or "no put has ended yet"
    return Failed(
        "share_copy_missing",
        "the key stays Pending, because the customer's bucket does not have the copy of this "
        f"signer's share yet: {why}. See mpc-signer layer4 status",
        transient=True,
    )
