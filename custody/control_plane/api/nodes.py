"""The route of nodes."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, Security

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.answers import answer, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.requests import Name
from custody.control_plane.api.services import Services
from custody.wire.resources import Node, Page


def router(services: Services) -> APIRouter:
    """GET of nodes."""
    routes = APIRouter(prefix="/v1/nodes", tags=["Nodes"])
    reader = Annotated[Caller, Security(Requires(services.tokens, Scope.READ))]

    @routes.get(
        "",
        operation_id="list_nodes",
        summary="List nodes",
        response_model=Page[Node],
        responses=problems(),
    )
    async def list_nodes(
        caller: reader,
        group: Annotated[Name | None, Query(description="Only the nodes of this group.")] = None,
    ) -> Response:
        """The registered nodes, by id: group, abilities, status.

        With scope `admin` also the version, when it was last seen, what is wrong with it,
        what its operator should do, and which of its databases were restored.
        """
        nodes = await services.groups.nodes(group, caller.sees_details)
        if caller.sees_details:
            nodes = await services.audit_restores.added_to(nodes)
        return answer(Page[Node](items=nodes, next_cursor=None))

    return routes
