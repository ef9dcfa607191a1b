"""A cheap node API: it gives out jobs signed in advance, keeps reports, and checks them later.

It replaces the control plane when only the driver is measured. In its own process:

    python -m benchmarks.stub_node_api FOLDER CERTIFICATES PORT NODE GROUP

CERTIFICATES is a server's folder as the pki command makes it. Once the stub listens,
FOLDER/stub.json has its job_signing_key (base64). It also answers GET /measure?keys=N&jobs=M.
"""

import asyncio
import base64
import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.runtime.listener import Listener, config
from custody.runtime.live_tls import LiveTls
from custody.runtime.tls import TlsFiles
from custody.wire.algorithms import Curve, Scheme
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.node_api import ClaimRequest, HeartbeatResponse, ReportRequest
from custody.wire.outcomes import GeneratedKey, Outcome, OutcomeStatus
from custody.wire.signed_bytes import JOB_TYPE, SigningKey

LOCALHOST = "127.0.0.1"
LEASE_SECONDS = 120.0
IDLE_SECONDS = 0.2
REPORTED = re.compile(rb'"job_id":"([0-9a-f-]{36})"')
"""The job ids of a report. The outcomes name the jobs too, but in base64."""


class Stub:
    """The remaining jobs, as JSON ready to send, and the received reports, not parsed."""

    def __init__(self, node: str, group: str) -> None:
        self._node = node
        self._group = group
        self._signer = SigningKey(Ed25519PrivateKey.generate())
        self._queue: list[bytes] = []
        self._reports: list[bytes] = []
        self._reported = 0
        self._wanted = 0
        self._work = asyncio.Event()
        self._all_reported = asyncio.Event()

    @property
    def job_signing_key(self) -> str:
        return base64.b64encode(self._signer.public_key).decode()

    async def claim(self, body: bytes) -> bytes:
        if not self._queue:
            self._work.clear()
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._work.wait()
            except TimeoutError:
                pass
        slots = ClaimRequest.model_validate_json(body).slots
        jobs, self._queue = self._queue[:slots], self._queue[slots:]
        return b'{"jobs":[' + b",".join(jobs) + b"]}"

    async def report(self, body: bytes) -> bytes:
        self._reports.append(body)
        self._reported += body.count(b'"outcome":')
        if self._reported >= self._wanted:
            self._all_reported.set()
        answers = (b'{"job_id":"%s","note":"recorded"}' % id_ for id_ in REPORTED.findall(body))
        return b'{"results":[' + b",".join(answers) + b"]}"

    async def heartbeat(self, _: bytes) -> bytes:
        answer = HeartbeatResponse(node=self._node, group=self._group, time=datetime.now(UTC))
        return answer.model_dump_json().encode()

    async def extend(self, _: bytes) -> bytes:
        return b'{"extended":[],"lease_seconds":%d}' % LEASE_SECONDS

    async def measure(self, keys: int, jobs: int) -> bytes:
        """Have the driver make keys, then measure its signatures with these keys in turn."""
        await self._have_done([self._generate() for _ in range(keys)])
        references = [self._reference(outcome) for outcome in self._outcomes()]
        prepared = [self._sign(references[number % keys]) for number in range(jobs)]
        seconds = await self._have_done(prepared)
        done = sum(outcome.status is OutcomeStatus.DONE for outcome in self._outcomes())
        return json.dumps({"seconds": seconds, "signatures": done}).encode()

    async def _have_done(self, jobs: list[bytes]) -> float:
        self._reports, self._reported, self._wanted = [], 0, len(jobs)
        self._all_reported.clear()
        start = time.perf_counter()
        self._queue = jobs
        self._work.set()
        await self._all_reported.wait()
        return time.perf_counter() - start

    def _outcomes(self) -> list[Outcome]:
        return [
            Outcome.model_validate_json(report.outcome)
            for body in self._reports
            for report in ReportRequest.model_validate_json(body).reports
        ]

    def _reference(self, outcome: Outcome) -> KeyReference:
        if not isinstance(outcome.result, GeneratedKey):
            raise RuntimeError(f"no key was generated: {outcome.code}: {outcome.reason}")
        return KeyReference(
            id=outcome.job_id,
            scheme=outcome.result.scheme,
            curve=outcome.result.curve,
            network=None,
            public_key=outcome.result.public_key,
        )

    def _generate(self) -> bytes:
        body = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
        job_id = uuid4()
        key = KeyReference(
            id=job_id,
            scheme=Scheme.ECDSA,
            curve=Curve.SECP256K1,
            network=None,
            public_key=None,
        )
        return self._job(job_id, JobKind.GENERATE_KEY, Endpoint.KEYS, key, body)

    def _sign(self, key: KeyReference) -> bytes:
        job_id = uuid4()
        body = {"kind": "Hash", "hash": "0x" + job_id.bytes.hex() * 2}
        return self._job(job_id, JobKind.SIGN, Endpoint.SIGNATURES, key, body)

    def _job(
        self, job_id: UUID, kind: JobKind, endpoint: Endpoint, key: KeyReference, body: Any
    ) -> bytes:
        now = datetime.now(UTC)
        job = Job(
            id=job_id,
            kind=kind.value,
            group=self._group,
            key=key,
            endpoint=endpoint,
            request=json.dumps(body).encode(),
            created_at=now,
            expires_at=now + timedelta(hours=1),
        )
        signed = self._signer.sign(JOB_TYPE, job.model_dump_json().encode())
        claimed = {
            "job_id": str(job_id),
            "job": signed.model_dump(mode="json"),
            "attempt": 1,
            "lease": str(uuid4()),
            "lease_seconds": LEASE_SECONDS,
        }
        return json.dumps(claimed).encode()


def application(stub: Stub) -> Any:
    """Return the stub as a bare ASGI application."""
    routes = {
        "/node/v1/claim": stub.claim,
        "/node/v1/report": stub.report,
        "/node/v1/heartbeat": stub.heartbeat,
        "/node/v1/extend": stub.extend,
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["path"] == "/measure":
            query = parse_qs(scope["query_string"].decode())
            answer = await stub.measure(int(query["keys"][0]), int(query["jobs"][0]))
        else:
            answer = await routes[scope["path"]](body)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


async def serve(folder: Path, certificates: Path, port: int, node: str, group: str) -> None:
    stub = Stub(node, group)
    files = TlsFiles(
        "node_api",
        certificate=certificates / "certificate.pem",
        private_key=certificates / "private_key.pem",
        ca=certificates / "ca.pem",
        is_server=True,
    )
    listener = Listener(config(application(stub), LOCALHOST, port, tls=LiveTls(files)))
    await listener.start()
    written = folder / "stub.json.new"
    written.write_text(json.dumps({"job_signing_key": stub.job_signing_key}))
    written.rename(folder / "stub.json")
    await asyncio.Event().wait()


def main() -> None:
    folder, certificates, port, node, group = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(folder), Path(certificates), int(port), node, group))


if __name__ == "__main__":
    main()
