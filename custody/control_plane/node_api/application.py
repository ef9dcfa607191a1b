"""The node API as an ASGI application. mtls.MutualTlsProtocol is its listener."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from custody.control_plane import problems
from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.audit.node_records import NodeRecords
from custody.control_plane.audit.restores import AuditRestores
from custody.control_plane.bodies import model_response, read_model
from custody.control_plane.conductor.ban_questions import BanQuestions
from custody.control_plane.conductor.bans import Bans
from custody.control_plane.conductor.tasks import Tasks
from custody.control_plane.database import Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Contended, Queue
from custody.control_plane.node_api.authorisation import Authorisation, RegisteredNode
from custody.control_plane.node_api.changed_keys import changed_keys
from custody.control_plane.node_api.claims import Claims
from custody.control_plane.node_api.heartbeats import Heartbeats
from custody.control_plane.problems import Code, ProblemError
from custody.wire import node_api
from custody.wire.signed_bytes import SignedBytes

MAX_BODY = 8 * 1024 * 1024
"""Bytes; a full report of ordinary outcomes takes less than one tenth."""

PREFIX = "/node/v1"


def create_node_app(
    database: Database,
    queue: Queue,
    tasks: Tasks,
    notifications: Notifications,
    node_records: NodeRecords | None = None,
) -> Starlette:
    """Build the application on parts that the caller opens and closes."""
    node_records = node_records or NodeRecords(database)
    api = _NodeApi(database, queue, tasks, notifications, node_records)
    app = Starlette(
        routes=[
            Route(f"{PREFIX}/claim", api.claim, methods=["POST"]),
            Route(f"{PREFIX}/report", api.report, methods=["POST"]),
            Route(f"{PREFIX}/extend", api.extend, methods=["POST"]),
            Route(f"{PREFIX}/heartbeat", api.heartbeat, methods=["POST"]),
            Route(f"{PREFIX}/ban-question", api.ban_question, methods=["POST"]),
            Route(f"{PREFIX}/ban-answer", api.ban_answer, methods=["POST"]),
            Route(f"{PREFIX}/audit-heads", api.audit_heads, methods=["GET"]),
            Route(f"{PREFIX}/keys", api.changed_keys, methods=["GET"]),
            Route(f"{PREFIX}/audit-restored", api.audit_restored, methods=["POST"]),
            Route(f"{PREFIX}/audit-records", api.audit_records, methods=["POST"]),
        ]
    )
    problems.install(app)
    return app


class _NodeApi:
    def __init__(
        self,
        database: Database,
        queue: Queue,
        tasks: Tasks,
        notifications: Notifications,
        node_records: NodeRecords,
    ) -> None:
        self._database = database
        self._authorisation = Authorisation(database)
        self._queue = queue
        self._tasks = tasks
        self._notifications = notifications
        self._claims = Claims(queue, tasks, notifications)
        self._heartbeats = Heartbeats(database)
        self._bans = Bans(database)
        self._ban_questions = BanQuestions(database)
        self._audit_heads = AuditHeads(database)
        self._audit_restores = AuditRestores(database)
        self._node_records = node_records

    async def claim(self, request: Request) -> Response:
        await self._authorisation.authorise(request)  # before the body is read
        asked = await read_model(request, node_api.ClaimRequest, MAX_BODY)
        jobs = await self._claims.claim(request, self._authorisation.authorise, asked)
        return model_response(node_api.ClaimResponse(jobs=jobs))

    async def report(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        body = await read_model(request, node_api.ReportRequest, MAX_BODY)
        try:
            results = await self._report(node, body)
        except Contended:
            raise ProblemError(
                Code.UNAVAILABLE, "The jobs are changing just now. Send the report again."
            ) from None
        if body.audit_head is not None and node.identity is not None:
            self._audit_heads.keep_soon(node.id, node.identity, body.audit_head)
        return model_response(node_api.ReportResponse(results=results))

    async def _report(
        self, node: RegisteredNode, body: node_api.ReportRequest
    ) -> list[node_api.ReportResult]:
        if node.group != self._tasks.node_group:
            return await self._queue.report(node.id, node.group, body.reports)
        if node.identity is None:
            raise ProblemError(
                Code.UNAVAILABLE, "A signer's first heartbeat comes before its first report."
            )
        return await self._tasks.report(node.id, node.identity, body.reports)

    async def extend(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        body = await read_model(request, node_api.ExtendRequest, MAX_BODY)
        held = self._tasks if node.group == self._tasks.node_group else self._queue
        extended = await held.extend(node.id, body.leases)
        return model_response(
            node_api.ExtendResponse(extended=extended, lease_seconds=self._queue.lease_seconds)
        )

    async def heartbeat(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        body = await read_model(request, node_api.HeartbeatRequest, MAX_BODY)
        time = await self._heartbeats.record(node, body)
        await self._bans.keep(node.id, body.identity_public_key, body.bans)
        if body.audit_head is not None:
            await self._audit_heads.keep(
                node.id, body.identity_public_key, body.audit_head, is_current=True
            )
        if body.health.works:
            self._notifications.wake_jobs(
                node.group
            )  # it may wait already, and get jobs from now on
        return model_response(
            node_api.HeartbeatResponse(
                node=node.id,
                group=node.group,
                time=time,
                max_clock_offset_seconds=self._tasks.max_clock_offset_seconds(node.group),
                ban_questions=await self._open_questions(node),
            )
        )

    async def _open_questions(self, node: RegisteredNode) -> tuple[SignedBytes, ...]:
        if node.group != self._tasks.node_group:
            return ()
        return await self._ban_questions.open(node.id, node.group)

    async def ban_question(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        body = await read_model(request, node_api.BanQuestionRequest, MAX_BODY)
        if body.question is None:
            await self._ban_questions.withdraw(node.id)
            return model_response(node_api.BanQuestionResponse(answers=()))
        identity = self._identity_of_signer(node)
        return model_response(
            await self._ban_questions.ask(node.id, identity, body.question, body.wanted)
        )

    async def ban_answer(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        body = await read_model(request, node_api.BanAnswerRequest, MAX_BODY)
        identity = self._identity_of_signer(node)
        is_wanted = await self._ban_questions.answer(node.id, identity, body.answer)
        return model_response(node_api.BanAnswerResponse(is_wanted=is_wanted))

    def _identity_of_signer(self, node: RegisteredNode) -> bytes:
        """Return a signer's identity key. Raise ProblemError for a driver or an unknown key."""
        if node.group != self._tasks.node_group:
            raise ProblemError(Code.INVALID_REQUEST, f"Node {node.id} is not a signer.")
        if node.identity is None:
            raise ProblemError(
                Code.UNAVAILABLE, "A signer's first heartbeat comes before its first statement."
            )
        return node.identity

    async def audit_heads(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        return model_response(
            node_api.AuditHeads(
                group=node.group,
                heads=await self._audit_heads.kept(node.id),
                set_aside=tuple(await self._audit_heads.kept(node.id, is_set_aside=True)),
                restores=tuple(await self._audit_restores.of(node.id)),
            )
        )

    async def changed_keys(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        since = request.query_params.get("since")
        return model_response(await changed_keys(self._database, node, since))

    async def audit_restored(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        body = await read_model(request, node_api.RestoreClaim, MAX_BODY)
        is_acknowledged = await self._audit_restores.claim(node.id, body.restored)
        return model_response(node_api.RestoreClaimed(is_acknowledged=is_acknowledged))

    async def audit_records(self, request: Request) -> Response:
        node = await self._authorisation.authorise(request)
        body = await read_model(request, node_api.AuditRecordsRequest, MAX_BODY)
        return model_response(await self._node_records.keep(node.id, node.identity, body))
