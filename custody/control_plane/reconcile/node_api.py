"""The node API while a restored database is reconciled: heartbeats and inventories, and no jobs."""

from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from custody.control_plane import problems
from custody.control_plane.bodies import model_response, read_model
from custody.control_plane.mtls import peer_of
from custody.control_plane.node_api.application import MAX_BODY, PREFIX
from custody.control_plane.node_api.authorisation import authenticate, require_recent
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.reconcile.collector import Collector, NodeState
from custody.wire.inventory import InventoryPage, PageReceived
from custody.wire.node_api import HeartbeatRequest, HeartbeatResponse

RETRY_AFTER_SECONDS = 5


def create_reconciling_app(collector: Collector) -> Starlette:
    """Return the application. It writes nothing to the database."""
    api = _Api(collector)
    app = Starlette(
        routes=[
            Route(f"{PREFIX}/heartbeat", api.heartbeat, methods=["POST"]),
            Route(f"{PREFIX}/inventory", api.inventory, methods=["POST"]),
            Route(f"{PREFIX}/{{path:path}}", _closed, methods=["GET", "POST"]),
        ]
    )
    problems.install(app)
    return app


class _Api:
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def heartbeat(self, request: Request) -> Response:
        node_id = self._authenticate(request)
        beat = await read_model(request, HeartbeatRequest, MAX_BODY)
        node = self._known(node_id, beat)
        wanted = self._collector.question if self._collector.wants(node_id) else None
        return model_response(
            HeartbeatResponse(
                node=node.id, group=node.group, time=datetime.now(UTC), inventory=wanted
            )
        )

    async def inventory(self, request: Request) -> Response:
        node_id = self._authenticate(request)
        page = await read_model(request, InventoryPage, MAX_BODY)
        return model_response(PageReceived(wanted=await self._collector.take(node_id, page)))

    def _authenticate(self, request: Request) -> str:
        """Return the node that sent a request. Raise ProblemError."""
        peer = peer_of(request.scope)
        node_id = authenticate(peer, datetime.now(UTC))
        node = self._collector.nodes.get(node_id)
        require_recent(peer, None if node is None else node.certificates_from)
        return node_id

    def _known(self, node_id: str, beat: HeartbeatRequest) -> NodeState:
        """Return a registered node that shows the identity key it had. Raise ProblemError."""
        node = self._collector.nodes.get(node_id)
        if node is None or node.group != beat.group:
            self._collector.refuse(
                node_id, f"not registered in group {beat.group}: control-plane node add"
            )
            raise ProblemError(
                Code.NODE_NOT_REGISTERED, f"No node {node_id} is registered in group {beat.group}."
            )
        if node.identity is None:
            node.identity = beat.identity_public_key
        elif node.identity != beat.identity_public_key:
            self._collector.refuse(node_id, "has another identity key than the backup knows")
            raise ProblemError(
                Code.IDENTITY_CHANGED, f"Node {node_id} has shown another identity key before."
            )
        return node


async def _closed(_request: Request) -> Response:
    raise ProblemError(
        Code.UNAVAILABLE,
        "The control plane's database was restored, and is being reconciled. No jobs are given.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
