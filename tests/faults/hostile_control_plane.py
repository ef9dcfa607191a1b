"""A control plane that somebody else runs: it speaks the node API and gives out what it is told.

It is real in everything but its intentions: mTLS under the same root, signed bytes, leases. It runs
in a thread of its own, so that tests read from top to bottom.
"""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from custody.runtime.tls import TlsFiles
from custody.wire.algorithms import Algorithm, Network
from custody.wire.encoding import Model
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.node_api import (
    AuditHeads,
    ClaimedJob,
    ClaimRequest,
    ClaimResponse,
    ExtendRequest,
    ExtendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ReportRequest,
    ReportResponse,
    ReportResult,
)
from custody.wire.outcomes import Outcome
from custody.wire.requests import CreateKey, CreateWallet, SignHash, SignMessage
from custody.wire.signed_bytes import JOB_TYPE, SignedBytes, SigningKey
from devstack.certificates import Leaf
from devstack.processes import LOCALHOST
from tests.server_in_a_thread import ServerInAThread

LEASE_SECONDS = 30.0
OUTCOME_TIMEOUT = 30.0
GROUP = "hsm"


@dataclass
class Given:
    """A job that was given out, and the outcomes that came back, byte for byte."""

    job_id: UUID
    outcomes: list[bytes] = field(default_factory=list)
    reported: threading.Event = field(default_factory=threading.Event)

    def first(self) -> bytes:
        """The first outcome, once it is reported."""
        if not self.reported.wait(OUTCOME_TIMEOUT):
            raise TimeoutError(f"nothing was reported of job {self.job_id}")
        return self.outcomes[0]


class HostileControlPlane(ServerInAThread):
    """``with HostileControlPlane(leaf, ca) as plane: plane.ask(plane.sign_job(...))``"""

    name = "control plane"

    def __init__(self, leaf: Leaf, client_ca: Path) -> None:
        super().__init__(
            TlsFiles("plane", leaf.certificate, leaf.private_key, client_ca, is_server=True)
        )
        self.signer = SigningKey(Ed25519PrivateKey.generate())
        self.clock_offset = timedelta()
        """How far this control plane's clock is ahead."""
        self.heartbeats: list[HeartbeatRequest] = []
        self._given: dict[UUID, Given] = {}
        self._waiting: list[ClaimedJob] = []
        self._nonsense: list[tuple[Response, threading.Event]] = []
        self._work = asyncio.Event()

    @property
    def url(self) -> str:
        return f"https://{LOCALHOST}:{self.port}"

    # What a test says

    def ask(self, signed: SignedBytes, job_id: UUID) -> Outcome:
        """Give the job to the next claim, and return the reported outcome."""
        return Outcome.model_validate_json(self.ask_for_bytes(signed, job_id))

    def ask_for_bytes(self, signed: SignedBytes, job_id: UUID) -> bytes:
        return self.give(signed, job_id).first()

    def give(self, signed: SignedBytes, job_id: UUID) -> Given:
        """Give the job to the next claim, and wait for nothing."""
        given = Given(job_id)
        claimed = ClaimedJob(
            job_id=job_id, job=signed, attempt=1, lease=uuid4(), lease_seconds=LEASE_SECONDS
        )
        self._loop.call_soon_threadsafe(self._give, given, claimed)
        return given

    def _give(self, given: Given, claimed: ClaimedJob) -> None:
        self._given[given.job_id] = given
        self._waiting.append(claimed)
        self._work.set()

    def expect(self, job_id: UUID) -> Given:
        """Take what is reported of a job that was given out in an earlier life."""
        given = self._given[job_id] = Given(job_id)
        return given

    def say(self, nonsense: Response) -> None:
        """Answer the next claim with this, and return when it was sent."""
        said = threading.Event()
        self._loop.call_soon_threadsafe(self._say, nonsense, said)
        if not said.wait(OUTCOME_TIMEOUT):
            raise TimeoutError("nobody claimed")

    def _say(self, nonsense: Response, said: threading.Event) -> None:
        self._nonsense.append((nonsense, said))
        self._work.set()

    def sign(self, job: Job) -> SignedBytes:
        return self.signer.sign(JOB_TYPE, job.model_dump_json().encode())

    def wait_for_heartbeat(self, timeout: float = 30) -> HeartbeatRequest:
        """The first heartbeat from now on."""
        seen = len(self.heartbeats)
        deadline = time.monotonic() + timeout
        while len(self.heartbeats) == seen:
            if time.monotonic() > deadline:
                raise TimeoutError("no heartbeat came")
            time.sleep(0.05)
        return self.heartbeats[-1]

    # The node API

    async def _claim(self, request: Request, body: ClaimRequest) -> Response:
        try:
            async with asyncio.timeout(body.wait):
                while not self._waiting and not self._nonsense:
                    self._work.clear()
                    await self._work.wait()
        except TimeoutError:
            return _json(ClaimResponse(jobs=[]))
        if await request.is_disconnected():  # a driver that was stopped: the next one's work
            return _json(ClaimResponse(jobs=[]))
        if self._nonsense:
            nonsense, said = self._nonsense.pop()
            said.set()
            return nonsense
        jobs, self._waiting = self._waiting[: body.slots], self._waiting[body.slots :]
        return _json(ClaimResponse(jobs=jobs))

    async def _report(self, body: ReportRequest) -> ReportResponse:
        for report in body.reports:
            given = self._given.get(report.job_id)
            if given is not None:
                given.outcomes.append(report.outcome)
                given.reported.set()
        return ReportResponse(
            results=[ReportResult(job_id=report.job_id, note="recorded") for report in body.reports]
        )

    async def _extend(self, body: ExtendRequest) -> ExtendResponse:
        extended = [lease.job_id for lease in body.leases]
        return ExtendResponse(extended=extended, lease_seconds=LEASE_SECONDS)

    async def _heartbeat(self, body: HeartbeatRequest) -> HeartbeatResponse:
        self.heartbeats.append(body)
        now = datetime.now(UTC) + self.clock_offset
        return HeartbeatResponse(node="anybody", group=body.group, time=now)

    # The server

    def let_go(self) -> None:
        self._work.set()

    def application(self) -> Starlette:
        async def claim(request: Request) -> Response:
            body = ClaimRequest.model_validate_json(await request.body())
            return await self._claim(request, body)

        async def report(request: Request) -> Response:
            body = ReportRequest.model_validate_json(await request.body())
            return _json(await self._report(body))

        async def extend(request: Request) -> Response:
            body = ExtendRequest.model_validate_json(await request.body())
            return _json(await self._extend(body))

        async def heartbeat(request: Request) -> Response:
            body = HeartbeatRequest.model_validate_json(await request.body())
            return _json(await self._heartbeat(body))

        async def audit_heads(_: Request) -> Response:
            return _json(AuditHeads(group="hsm", heads=[]))

        return Starlette(
            routes=[
                Route("/node/v1/claim", claim, methods=["POST"]),
                Route("/node/v1/report", report, methods=["POST"]),
                Route("/node/v1/extend", extend, methods=["POST"]),
                Route("/node/v1/heartbeat", heartbeat, methods=["POST"]),
                Route("/node/v1/audit-heads", audit_heads),
            ]
        )


def _json(model: Model) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")


# Jobs as an honest control plane would make them; tests change what they are about


def generate_job(algorithm: Algorithm, network: Network | None = None) -> Job:
    key_id = uuid4()
    request: CreateKey | CreateWallet
    if network is None:
        request = CreateKey(scheme=algorithm.scheme, curve=algorithm.curve, store="hsm")
        endpoint = Endpoint.KEYS
    else:
        request = CreateWallet(network=network, store="hsm")
        endpoint = Endpoint.WALLETS
    reference = KeyReference(
        id=key_id,
        scheme=algorithm.scheme,
        curve=algorithm.curve,
        network=network,
        public_key=None,
    )
    return job_of(key_id, JobKind.GENERATE_KEY, reference, endpoint, request)


def sign_job(key: KeyReference, request: SignHash | SignMessage) -> Job:
    return job_of(uuid4(), JobKind.SIGN, key, Endpoint.SIGNATURES, request)


def job_of(
    job_id: UUID, kind: JobKind, key: KeyReference, endpoint: Endpoint, request: Model
) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=job_id,
        kind=kind,
        group=GROUP,
        key=key,
        endpoint=endpoint,
        request=request.model_dump_json(exclude_none=True).encode(),
        created_at=now,
        expires_at=now + timedelta(minutes=5),
    )
