"""The node's inventory, for a control plane whose database was restored.

The control plane asks in its answer to a heartbeat. The answer is read-only: no job, no lock and no
key is touched, and nothing is journalled.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import structlog

from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.node.archivals import archived_pages
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
)
from custody.node.freeze import Freeze
from custody.wire.inventory import (
    MAX_PAGE,
    MAX_PAGE_BYTES,
    HeldKey,
    InventoryPage,
    InventoryQuestion,
    RecordedOutcome,
)

log = structlog.get_logger()

_OUTCOMES = """
    SELECT job_id, node, outcome, committed_at, reported_at IS NOT NULL AS is_reported
    FROM journal
    WHERE (committed_at, job_id) > (:at::timestamptz, :job_id::uuid)
        AND status IN ('DONE', 'DENIED')
    ORDER BY committed_at, job_id LIMIT :limit
"""


class HeldKeys(Protocol):
    """The keys that a node holds, in pages."""

    def pages(self, limit: int) -> AsyncIterator[Sequence[HeldKey]]:
        """Yield all keys, at most ``limit`` in a page."""
        ...


class InventoryReporter:
    """Hands the inventory in, once for each question. The next heartbeat asks again on failure."""

    def __init__(
        self, client: ControlPlaneClient, pool: Pool, freeze: Freeze, held_keys: HeldKeys
    ) -> None:
        self._client = client
        self._pool = pool
        self._freeze = freeze
        self._held_keys = held_keys
        self._question: InventoryQuestion | None = None
        self._asked = asyncio.Event()
        self._answered: UUID | None = None

    def ask(self, question: InventoryQuestion) -> None:
        """Have a question answered, unless it is answered already or its answer is under way."""
        if question.id != self._answered:
            self._question = question
            self._asked.set()

    async def answer_repeatedly(self) -> None:
        """Answer each question until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()  # a question that arrives from here on is answered next
            question = self._question
            assert question is not None
            if question.id == self._answered:  # asked again while the answer was under way
                continue
            try:
                await self._answer(question)
                self._answered = question.id
            except (ControlPlaneUnavailable, ControlPlaneRefused) as error:
                log.warning("inventory not handed in", error=str(error))
            except Exception as error:
                if not is_transient(error):
                    log.exception("inventory not handed in")
                else:
                    log.warning("inventory not handed in", error=str(error))

    async def _answer(self, question: InventoryQuestion) -> None:
        log.info("the control plane asks for this node's inventory", question=str(question.id))
        number = 0
        async for page in self._pages(question):
            received = await self._client.inventory(page.model_copy(update={"number": number}))
            if not received.wanted:
                return
            number += 1
        log.info("inventory handed in", pages=number)

    async def _pages(self, question: InventoryQuestion) -> AsyncIterator[InventoryPage]:
        empty = InventoryPage(question=question.id, number=0)
        async for keys in self._held_keys.pages(MAX_PAGE):
            yield empty.model_copy(update={"keys": tuple(keys)})
        held_back = 0
        async for rows in self._outcomes(question.outcomes_since):
            # no signature leaves a frozen node that has not left it before
            frozen = self._freeze.problem() is not None
            going = [row for row in rows if row.is_reported or not frozen]
            held_back += len(rows) - len(going)
            yield empty.model_copy(update={"outcomes": tuple(map(_recorded, going))})
        last: dict[str, Any] = {"is_last": True, "held_back": held_back}
        if question.archived:
            async for archived in archived_pages(self._pool, MAX_PAGE):
                yield empty.model_copy(update={"archived": archived})
            last["archived"] = ()  # an empty list says so, too
        yield empty.model_copy(update=last)

    async def _outcomes(self, since: datetime) -> AsyncIterator[list[Any]]:
        place = {"at": since, "job_id": UUID(int=0), "limit": MAX_PAGE}
        while rows := await self._pool.rows(_OUTCOMES, place):
            page, size = list[Any](), 0
            for row in rows:
                page.append(row)
                size += len(row.outcome)
                if size >= MAX_PAGE_BYTES:
                    break
            yield page
            place = {**place, "at": page[-1].committed_at, "job_id": page[-1].job_id}


def _recorded(row: Any) -> RecordedOutcome:
    return RecordedOutcome(
        job_id=row.job_id, node=row.node, outcome=row.outcome, committed_at=row.committed_at
    )
