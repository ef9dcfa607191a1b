"""A node as the node API sees one: a TLS client with a certificate."""

import ssl
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.audit import AuditHead
from custody.wire.jobs import JobKind
from custody.wire.node_api import (
    MAX_BATCH,
    AuditHeads,
    ClaimedJob,
    ClaimRequest,
    ClaimResponse,
    ExtendRequest,
    ExtendResponse,
    HeartbeatRequest,
    Lease,
    NodeHealth,
    Report,
    ReportRequest,
    ReportResponse,
)
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, SignedBytes, SigningKey

KINDS = [kind.value for kind in JobKind]


class Node:
    """Speaks the node API. ``home``: the folder that pki made for it."""

    def __init__(
        self,
        url: str,
        node_id: str,
        group: str,
        ca: Path,
        home: Path | None,
        identity: Ed25519PrivateKey,
    ) -> None:
        self.id = node_id
        self.group = group
        self.signer = SigningKey(identity)
        # runtime.tls.client_context would refuse to load certificates that a test shows
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
        if home is not None:
            context.load_cert_chain(home / "certificate.pem", home / "private_key.pem")
        self.http = httpx.AsyncClient(base_url=f"{url}/node/v1/", verify=context, timeout=20)

    async def close(self) -> None:
        await self.http.aclose()

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(path, content=body.model_dump_json())

    async def claim(
        self, slots: int = MAX_BATCH, wait: float = 0, kinds: list[str] | None = None
    ) -> list[ClaimedJob]:
        asked = ClaimRequest(kinds=KINDS if kinds is None else kinds, slots=slots, wait=wait)
        response = await self.post("claim", asked)
        assert response.status_code == 200, response.text
        return ClaimResponse.model_validate_json(response.content).jobs

    async def report(
        self, *reports: Report, audit_head: SignedBytes | None = None
    ) -> dict[UUID, str]:
        body = ReportRequest(reports=list(reports), audit_head=audit_head)
        response = await self.post("report", body)
        assert response.status_code == 200, response.text
        results = ReportResponse.model_validate_json(response.content).results
        return {result.job_id: result.note for result in results}

    async def extend(self, *jobs: ClaimedJob) -> list[UUID]:
        leases = [Lease(job_id=job.job_id, lease=job.lease) for job in jobs]
        response = await self.post("extend", ExtendRequest(leases=leases))
        assert response.status_code == 200, response.text
        return ExtendResponse.model_validate_json(response.content).extended

    async def heartbeat(
        self, audit_head: SignedBytes | None = None, **changes: Any
    ) -> httpx.Response:
        beat = HeartbeatRequest(
            version="1.0",
            group=self.group,
            kinds=KINDS,
            capabilities={"ECDSA/secp256k1": "hsm"},
            health=NodeHealth(status="ok"),
            identity_public_key=self.signer.public_key,
            audit_head=audit_head,
        )
        return await self.post("heartbeat", beat.model_copy(update=changes))

    async def kept_heads(self) -> list[SignedBytes]:
        response = await self.http.get("audit-heads")
        assert response.status_code == 200, response.text
        return AuditHeads.model_validate_json(response.content).heads

    def head(self, sequence: int, record: bytes = b"record") -> SignedBytes:
        """An audit head signed by this node; ``record`` stands for what the chain says."""
        head = AuditHead(node=self.id, sequence=sequence, hash=record.ljust(32, b"."))
        return self.signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())

    def outcome(self, job_id: UUID, status: OutcomeStatus, **fields: Any) -> bytes:
        if status is not OutcomeStatus.DONE:
            fields = {"code": "some_code", "reason": "for some reason", **fields}
        outcome = Outcome(**{"job_id": job_id, "node": self.id, "status": status, **fields})
        return outcome.model_dump_json().encode()


def report_of(job: ClaimedJob, outcome: bytes) -> Report:
    return Report(job_id=job.job_id, lease=job.lease, outcome=outcome)
