"""Routes of imports."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response, Security
from pydantic import TypeAdapter

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.answers import WITH_BODY, answer, body, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.request_signatures import SignatureHeader
from custody.control_plane.api.requests import (
    Cursor,
    ExternalIdFilter,
    Limit,
    Posted,
    Wait,
    read_posted,
)
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import NewRequest, created, submit
from custody.control_plane.api.waiting import wait_for
from custody.control_plane.problems import Code
from custody.control_plane.resources.external_ids import Settled
from custody.control_plane.resources.pages import DEFAULT_LIMIT, PageRequest
from custody.wire.requests import CreateImport
from custody.wire.resources import Import, Page

_CREATE_IMPORT = TypeAdapter(CreateImport)


def router(services: Services) -> APIRouter:
    """POST and GET of imports."""
    routes = APIRouter(prefix="/v1/imports", tags=["Imports"])
    creator = Annotated[Caller, Security(Requires(services.tokens, Scope.WALLETS))]
    reader = Annotated[Caller, Security(Requires(services.tokens, Scope.READ))]

    @routes.post(
        "",
        operation_id="create_import",
        summary="Ask for import keys",
        status_code=201,
        response_model=Import,
        responses={
            200: {"model": Import, "description": "The first result of this external_id."},
            **problems(
                *WITH_BODY,
                Code.UNSUPPORTED_ALGORITHM,
                Code.NO_CAPABLE_NODE,
                Code.REQUEST_EXPIRED,
                Code.UNKNOWN_SIGNER_GROUP,
            ),
        },
        openapi_extra=body(
            "CreateImport",
            secp256k1={"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"},
        ),
    )
    async def create_import(
        request: Request, caller: creator, wait: Wait = 0, signature: SignatureHeader = None
    ) -> Response:
        """Nodes make one-time import keys, to which one private key can be encrypted.

        Then `POST /v1/keys` or `POST /v1/wallets` with `imported`.
        """
        posted = await read_posted(caller, request, _CREATE_IMPORT, signature)
        settled = await _create(services, posted)

        async def read() -> Import:
            return await services.imports.get(caller, settled.job_id)

        return await created(services, settled, read, wait, "/v1/imports")

    @routes.get(
        "",
        operation_id="list_imports",
        summary="List imports",
        response_model=Page[Import],
        responses=problems(),
    )
    async def list_imports(
        caller: reader,
        external_id: ExternalIdFilter = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """The application's imports, newest first."""
        page = PageRequest(limit, cursor)
        return answer(await services.imports.page(caller, external_id, page))

    @routes.get(
        "/{import_id}",
        operation_id="get_import",
        summary="Get an import",
        response_model=Import,
        responses=problems(Code.NOT_FOUND),
    )
    async def get_import(caller: reader, import_id: UUID, wait: Wait = 0) -> Response:
        """An import; with `wait`, once its import keys are there."""

        async def read() -> Import:
            return await services.imports.get(caller, import_id)

        return answer(await wait_for(services.notifications, import_id, read, wait))

    return routes


async def _create(services: Services, posted: Posted[CreateImport]) -> Settled:
    body = posted.body
    group = services.groups.serving(body.store)
    draft = services.job_maker.prepare_import(posted.for_group(group), body)

    async def require_capable() -> None:
        if body.signer_group is None:
            await services.groups.check(group, body.algorithm)
        else:
            await services.signer_groups.check(body.signer_group, body.algorithm)

    return await submit(
        services,
        NewRequest(
            body,
            draft,
            services.creation.prepared_import,
            require_capable,
            looks_up_first=True,
        ),
    )
