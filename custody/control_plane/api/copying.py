"""The routes of copies: a key's signers hand it on to another signer group."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response, Security
from pydantic import TypeAdapter

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.answers import WITH_BODY, answer, body, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.request_signatures import SignatureHeader, check_key
from custody.control_plane.api.requests import Cursor, Limit, Posted, Wait, read_posted
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import NewRequest, created, submit
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.archivals import require_unarchived
from custody.control_plane.resources.external_ids import Settled
from custody.control_plane.resources.key_rows import NewKey, key_row
from custody.control_plane.resources.keys import reference_of
from custody.control_plane.resources.pages import DEFAULT_LIMIT, PageRequest
from custody.wire.algorithms import Algorithm, Store
from custody.wire.requests import CopyKey
from custody.wire.resources import Key, Page

_COPY = TypeAdapter(CopyKey)
_PROBLEMS = (
    *WITH_BODY,
    Code.NOT_FOUND,
    Code.KEY_NOT_ACTIVE,
    Code.KEY_ARCHIVED,
    Code.NOT_COPYABLE,
    Code.UNKNOWN_SIGNER_GROUP,
    Code.NO_DELIVERY_SERVER,
    Code.NO_CAPABLE_NODE,
    Code.UNSUPPORTED_ALGORITHM,
    Code.REQUEST_MISMATCH,
    Code.REQUEST_EXPIRED,
)


def router(services: Services) -> APIRouter:
    """POST of copy, GET of copies."""
    routes = APIRouter(prefix="/v1/keys/{key_id}", tags=["Keys"])
    creator = Annotated[Caller, Security(Requires(services.tokens, Scope.WALLETS))]
    reader = Annotated[Caller, Security(Requires(services.tokens, Scope.READ))]

    @routes.post(
        "/copy",
        operation_id="copy_key",
        summary="Copy a key to another signer group",
        status_code=201,
        response_model=Key,
        responses={
            200: {"model": Key, "description": "The first result of this external_id."},
            **problems(*_PROBLEMS),
        },
        openapi_extra=body("CopyKey", copy={"signer_group": "zurich", "external_id": "move-7"}),
    )
    async def copy_key(
        request: Request,
        key_id: UUID,
        caller: creator,
        wait: Wait = 0,
        signature: SignatureHeader = None,
    ) -> Response:
        """Another signer group gets shares of the key, which never exists whole.

        The answer is the new key, Pending: it has the same public key and address. The old signers
        keep their shares, and both groups can sign. The owners of the old signers decide about a
        copy as about a signature. All signers of the new group are needed.
        """
        posted = await read_posted(caller, request, _COPY, signature)
        key = await services.keys.get_active(caller, key_id)
        _require_copyable(key)
        check_key(posted.body, key_id, key.store)
        settled = await _copy(services, key, posted)

        async def read() -> Key:
            return await services.keys.get(caller, settled.job_id)

        return await created(services, settled, read, wait, "/v1/keys")

    @routes.get(
        "/copies",
        operation_id="list_copies",
        summary="List a key's copies",
        response_model=Page[Key],
        responses=problems(Code.NOT_FOUND),
    )
    async def list_copies(
        caller: reader, key_id: UUID, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response:
        """Newest first, with the group and status of each. `GET /v1/keys/{id}` reads one of them.

        Failed copies are among them. A copy that is archived is one that its group holds.
        """
        await services.keys.get(caller, key_id)
        page = PageRequest(limit, cursor)
        return answer(await services.keys.page(caller, {"copied_from": key_id}, page))

    return routes


def _require_copyable(key: Key) -> None:
    if key.store is not Store.MPC:
        raise ProblemError(
            Code.NOT_COPYABLE,
            f"Key {key.id} is of store hsm, and only keys of store mpc have shares to copy. For a "
            "key that a signer group holds, create a wallet of store mpc and move the funds.",
        )
    if key.root is not None:
        raise ProblemError(
            Code.NOT_COPYABLE,
            f"Key {key.id} is derived: copy its root, {key.root}, and derive it from the copy.",
        )


async def _copy(services: Services, key: Key, posted: Posted[CopyKey]) -> Settled:
    body = posted.body
    submission = posted.for_group(services.groups.serving(Store.MPC))
    reference = reference_of(key)
    draft = services.job_maker.copy_key(submission, reference, body)

    async def require_capable() -> None:
        algorithm: Algorithm = reference.algorithm
        await services.signer_groups.check(body.signer_group, algorithm)
        await require_unarchived(services.database, key.id, key.id, ())

    async def add(new: NewJob) -> Settled:
        row = key_row(
            new,
            reference.model_copy(update={"id": draft.id}),
            Store.MPC,
            signer_group=body.signer_group,
            imported=key.imported,
            copied_from=key.id,
        )
        return await services.creation.key(NewKey(new, row, None))

    return await submit(
        services, NewRequest(body, draft, add, require_capable, looks_up_first=True)
    )
