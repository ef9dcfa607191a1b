"""Pages of audit records, as a node makes them."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from custody.node.audit import AuditRecord, link, sign_head
from custody.wire.audit import BEGIN, AuditHead, AuditPlace
from custody.wire.node_api import AuditRecordsRequest, AuditRecordsResponse
from tests.integration.node_api.nodes import Node

SIGN = AuditRecord(UUID(int=1), "Sign", UUID(int=2), bytes(32), "DONE", None, bytes(32), {})


@dataclass
class Chain:
    """The audit chain of a node of a test: places and records, from the first on."""

    node: Node
    places: list[AuditPlace] = field(default_factory=lambda: [BEGIN])
    records: list[bytes] = field(default_factory=list)

    def grow(self, count: int, kind: str = "Sign", **details: str | None) -> None:
        last = self.places[-1]
        head = AuditHead(node=self.node.id, sequence=last.sequence, hash=last.hash)
        record = AuditRecord(**{**vars(SIGN), "kind": kind, "details": details})
        links = link(head, [record] * count)
        self.records += links.records
        self.places += [
            AuditPlace(sequence=sequence, hash=hash_)
            for sequence, hash_ in zip(links.sequences, links.hashes, strict=True)
        ]

    def page(self, begin: int, end: int, **changes: Any) -> AuditRecordsRequest:
        """Return the page of the records after one number, up to another."""
        place = self.places[end]
        head = AuditHead(node=self.node.id, sequence=place.sequence, hash=place.hash)
        page = AuditRecordsRequest(
            after=self.places[begin],
            records=tuple(self.records[begin:end]),
            head=sign_head(head, self.node.signer),
        )
        return page.model_copy(update=changes)

    async def send(self, begin: int, end: int, **changes: Any) -> int:
        """Send a page. Return the number of the last record that is kept."""
        response = await self.post(begin, end, **changes)
        assert response.status_code == 200, response.text
        kept = AuditRecordsResponse.model_validate_json(response.content).kept
        assert kept == self.places[kept.sequence]
        return kept.sequence

    async def post(self, begin: int, end: int, **changes: Any) -> httpx.Response:
        return await self.node.post("audit-records", self.page(begin, end, **changes))
