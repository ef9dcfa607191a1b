"""The routes of the audit."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, Security

from custody.control_plane.access.scopes import Scope
from custody.control_plane.api.answers import answer, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.requests import Cursor, Limit, Name
from custody.control_plane.api.services import Services
from custody.control_plane.audit.own_chain import NAME
from custody.control_plane.problems import Code
from custody.control_plane.resources.pages import DEFAULT_LIMIT, PageRequest
from custody.wire.resources import AuditRecord, LatestHead, Page


def router(services: Services) -> APIRouter:
    """GET of the records of an audit chain, and of all signed heads."""
    admin = Security(Requires(services.tokens, Scope.ADMIN))
    routes = APIRouter(prefix="/v1/audit", tags=["Audit"], dependencies=[admin])

    @routes.get(
        "",
        operation_id="list_audit_records",
        summary="List audit records",
        response_model=Page[AuditRecord],
        responses=problems(Code.NOT_FOUND),
    )
    async def list_audit_records(
        node: Annotated[
            Name, Query(description="The node whose chain it is; by default the control plane's.")
        ] = NAME,
        kind: Annotated[Name | None, Query(description="Only this kind, as `AddNode`.")] = None,
        operator: Annotated[
            str | None, Query(max_length=200, description="Only what this operator did.")
        ] = None,
        restore: Annotated[
            int | None,
            Query(
                ge=1,
                le=2**31 - 1,
                description="Only the records that this restore of the node has cost, by its number"
                " in `GET /v1/nodes`. They are left out without this.",
            ),
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """The records of an audit chain, newest first, with scope `admin`.

        Without `node`: what the operators of the control plane did. The job-signing key has signed
        a head with each of these records. With `node`: what a node did. Its identity key has signed
        a head with some of its records, and with the last one. The list of a node whose owner sends
        no records (setting `send_audit_records`) is empty. Each record has its exact bytes and its
        hash.
        """
        page = PageRequest(limit, cursor)
        return answer(await services.audit.records(page, node, kind, operator, restore))

    @routes.get(
        "/heads",
        operation_id="list_audit_heads",
        summary="List audit heads",
        response_model=Page[LatestHead],
        responses=problems(),
    )
    async def list_audit_heads() -> Response:
        """The last signed head of each audit chain: the control plane's own first, then nodes'.

        A head that was noted elsewhere proves later that a chain was not cut or written again.
        """
        return answer(await services.audit.heads())

    return routes
