"""What every change of a key has: it is submitted once, and read by its id or in a list."""

from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Response, Security

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.answers import answer, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.requests import Cursor, Limit, Posted, Wait
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import NewRequest, created, submit
from custody.control_plane.api.waiting import wait_for
from custody.control_plane.jobs.new_jobs import Draft
from custody.control_plane.problems import Code
from custody.control_plane.resources.changes import SHOWN_AS
from custody.control_plane.resources.pages import DEFAULT_LIMIT, PageRequest
from custody.wire.jobs import JobKind
from custody.wire.requests import KeyRequest
from custody.wire.resources import KeyChange, Page

AnyChange = TypeVar("AnyChange", bound=KeyRequest)

FIRST: dict[int | str, dict[str, Any]] = {
    200: {"model": KeyChange, "description": "The first result of this external_id."}
}


def add_reading(routes: APIRouter, services: Services, singular: str, kind: JobKind) -> None:
    """Add the routes that list the changes of one kind, and read one of them."""
    reader = Annotated[Caller, Security(Requires(services.tokens, Scope.READ))]
    _, name = SHOWN_AS[kind]

    @routes.get(
        f"/{name}",
        operation_id=f"list_{name}",
        summary=f"List a key's {name}",
        response_model=Page[KeyChange],
        responses=problems(Code.NOT_FOUND),
    )
    async def list_changes(
        caller: reader, key_id: UUID, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response:
        """Newest first."""
        await services.keys.get(caller, key_id)
        page = PageRequest(limit, cursor)
        return answer(await services.changes.page(caller, key_id, kind, page))

    @routes.get(
        f"/{name}/{{change_id}}",
        operation_id=f"get_{singular}",
        summary=f"Get {'an' if singular[0] in 'aeiou' else 'a'} {singular}",
        response_model=KeyChange,
        responses=problems(Code.NOT_FOUND),
    )
    async def get_change(caller: reader, key_id: UUID, change_id: UUID, wait: Wait = 0) -> Response:
        """How far it is; with `wait`, once its status is final."""

        async def read() -> KeyChange:
            return await services.changes.get(caller, key_id, kind, change_id)

        return answer(await wait_for(services.notifications, change_id, read, wait))


async def submit_change(
    services: Services, posted: Posted[AnyChange], draft: Draft, wait: float
) -> Response:
    """Add the job of a change, or find the earlier request that it repeats; answer its status."""
    settled = await submit(services, NewRequest(posted.body, draft, services.creation.change))
    key_id = draft.job.key.id

    async def read() -> KeyChange:
        kind = JobKind(draft.job.kind)
        return await services.changes.get(posted.caller, key_id, kind, settled.job_id)

    return await created(services, settled, read, wait, f"/v1/keys/{key_id}/{draft.endpoint}")
