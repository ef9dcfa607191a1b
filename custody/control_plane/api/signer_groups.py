"""Routes of signer groups and signers."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response, Security
from pydantic import TypeAdapter

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.answers import answer, body, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.requests import body_of
from custody.control_plane.api.services import Services
from custody.control_plane.problems import Code
from custody.wire.requests import CreateSignerGroup
from custody.wire.resources import Page, RegisteredSigner, SignerGroup

_CREATE = TypeAdapter(CreateSignerGroup)


def router(services: Services) -> APIRouter:
    """POST and GET of signer groups, GET of signers."""
    routes = APIRouter(prefix="/v1", tags=["Signers"])
    admin = Annotated[Caller, Security(Requires(services.tokens, Scope.ADMIN))]
    reader = Annotated[Caller, Security(Requires(services.tokens, Scope.READ))]

    @routes.post(
        "/signer-groups",
        operation_id="create_signer_group",
        summary="Create a signer group",
        status_code=201,
        response_model=SignerGroup,
        responses={
            200: {"model": SignerGroup, "description": "The same group is there already."},
            **problems(Code.MALFORMED_JSON, Code.TOO_LARGE, Code.GROUP_EXISTS, Code.UNKNOWN_SIGNER),
        },
        openapi_extra=body(
            "CreateSignerGroup",
            three_of_five={
                "name": "treasury",
                "signers": ["signer-1", "signer-2", "signer-3", "signer-4", "signer-5"],
                "threshold": 3,
            },
        ),
    )
    async def create_signer_group(
        request: Request,
        caller: admin,  # noqa: ARG001 - only lets in who may
    ) -> Response:
        """Signers that make keys together, and how many of them it takes to sign.

        It is for all applications, and never changes. 3 of 5 is recommended. See in the answer
        whether any owner alone reaches the threshold.
        """
        _, wanted = await body_of(request, _CREATE)
        group, is_new = await services.signer_groups.create(wanted)
        location = f"/v1/signer-groups/{group.name}"
        return answer(group, 201 if is_new else 200, location=location)

    @routes.get(
        "/signer-groups",
        operation_id="list_signer_groups",
        summary="List signer groups",
        response_model=Page[SignerGroup],
        responses=problems(),
    )
    async def list_signer_groups(
        caller: reader,  # noqa: ARG001 - only lets in who may read
    ) -> Response:
        """Every signer group, by name."""
        groups = await services.signer_groups.list()
        return answer(Page[SignerGroup](items=groups, next_cursor=None))

    @routes.get(
        "/signer-groups/{name}",
        operation_id="get_signer_group",
        summary="Get a signer group",
        response_model=SignerGroup,
        responses=problems(Code.NOT_FOUND),
    )
    async def get_signer_group(
        caller: reader,  # noqa: ARG001 - only lets in who may read
        name: Annotated[str, Path(max_length=63)],
    ) -> Response:
        """A signer group, with the owner of each signer."""
        return answer(await services.signer_groups.get(name))

    @routes.get(
        "/signers",
        operation_id="list_signers",
        summary="List signers",
        response_model=Page[RegisteredSigner],
        responses=problems(),
    )
    async def list_signers(caller: reader) -> Response:
        """The registered signers, by id: group, abilities, status.

        With scope `admin` also whose they are, when they were last seen, what is wrong with them,
        and which signers they have banned.
        """
        signers = await services.signer_groups.signers(caller.sees_details)
        return answer(Page[RegisteredSigner](items=signers, next_cursor=None))

    return routes
