"""Routes that archive and un-archive keys, in both modes."""

from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request, Response, Security
from pydantic import TypeAdapter

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.answers import WITH_BODY, body, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.change_requests import FIRST, add_reading, submit_change
from custody.control_plane.api.request_signatures import SignatureHeader, check_key
from custody.control_plane.api.requests import Posted, Wait, read_posted
from custody.control_plane.api.services import Services
from custody.control_plane.problems import Code
from custody.wire.jobs import JobKind
from custody.wire.requests import ArchiveKey, UnarchiveKey
from custody.wire.resources import KeyChange

_ARCHIVE = TypeAdapter(ArchiveKey)
_UNARCHIVE = TypeAdapter(UnarchiveKey)

AnyArchival = TypeVar("AnyArchival", ArchiveKey, UnarchiveKey)

_PROBLEMS = problems(
    *WITH_BODY,
    Code.NOT_FOUND,
    Code.KEY_NOT_ACTIVE,
    Code.CHANGE_UNDER_WAY,
    Code.REQUEST_MISMATCH,
    Code.REQUEST_EXPIRED,
)


def router(services: Services) -> APIRouter:
    """POST of archive and unarchive; GET of both."""
    routes = APIRouter(prefix="/v1/keys/{key_id}", tags=["Keys"])
    creator = Annotated[Caller, Security(Requires(services.tokens, Scope.WALLETS))]

    @routes.post(
        "/archive",
        operation_id="archive_key",
        summary="Archive a key",
        status_code=201,
        response_model=KeyChange,
        responses={**FIRST, **_PROBLEMS},
        openapi_extra=body("ArchiveKey", archive={"external_id": "archive-user-17"}),
    )
    async def archive_key(
        request: Request,
        key_id: UUID,
        caller: creator,
        wait: Wait = 0,
        signature: SignatureHeader = None,
    ) -> Response:
        """Have the nodes sign nothing with a key, nor with keys derived from it.

        New signatures are refused at once (`key_archived`). It is Done when each node that holds
        the key has archived it. An archived key keeps its shares and its address, and is still
        refreshed and repaired.
        """
        posted = await read_posted(caller, request, _ARCHIVE, signature)
        return await _submit(services, key_id, posted, wait)

    @routes.post(
        "/unarchive",
        operation_id="unarchive_key",
        summary="Un-archive a key",
        status_code=201,
        response_model=KeyChange,
        responses={**FIRST, **_PROBLEMS},
        openapi_extra=body("UnarchiveKey", unarchive={"external_id": "unarchive-user-17"}),
    )
    async def unarchive_key(
        request: Request,
        key_id: UUID,
        caller: creator,
        wait: Wait = 0,
        signature: SignatureHeader = None,
    ) -> Response:
        """Let an archived key sign again. The validation gates of its owners decide first.

        A node whose operator archived the key on the host rejects the request
        (`archived_by_operator`).
        """
        posted = await read_posted(caller, request, _UNARCHIVE, signature)
        return await _submit(services, key_id, posted, wait)

    add_reading(routes, services, "archival", JobKind.ARCHIVE_KEY)
    add_reading(routes, services, "unarchival", JobKind.UNARCHIVE_KEY)
    return routes


async def _submit(
    services: Services, key_id: UUID, posted: Posted[AnyArchival], wait: float
) -> Response:
    key = await services.keys.active(posted.caller.application_id, key_id)
    check_key(posted.body, key_id, key.store)
    submission = posted.for_group(key.node_group)
    draft = services.job_maker.change(submission, key.reference, posted.body)
    return await submit_change(services, posted, draft, wait)
