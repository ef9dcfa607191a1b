"""Parameters and bodies that several routes share."""

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Query, Request
from pydantic import Field, TypeAdapter, ValidationError

from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.request_signatures import detached_signature
from custody.control_plane.api.waiting import MAX_WAIT
from custody.control_plane.bodies import read_body, require_strict_json
from custody.control_plane.jobs.new_jobs import Submission
from custody.control_plane.problems import Code, ProblemError, invalid
from custody.control_plane.resources.pages import MAX_LIMIT
from custody.wire import metadata
from custody.wire.requests import ExternalId
from custody.wire.signed_bytes import DetachedSignature

MAX_BODY_SIZE = 256 * 1024
"""Bytes of a public request's body."""

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_WAIT,
        description="Seconds to hold the answer back until the status is final. When the time is "
        "over, the answer shows the status so far; GET with `wait` continues to wait.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items on a page.")]
Cursor = Annotated[
    str | None,
    Query(description="`next_cursor` of the page before; left out for the first page."),
]
ExternalIdFilter = Annotated[
    ExternalId | None, Query(description="Only the one made with this external id.")
]
ArchivedFilter = Annotated[
    bool | None,
    Query(description="Only the archived ones, or only the others; both without it."),
]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
"""Printable ASCII: the names and addresses that lists are filtered by."""

NameFilter = Annotated[
    metadata.Name | None,
    Query(description="Exactly this name. Several wallets or keys may have it."),
]
TagFilter = Annotated[
    list[metadata.Tag] | None,
    Query(
        max_length=metadata.MAX_TAGS,
        description="Only those with this tag. May be repeated: then those with all of the tags.",
    ),
]
OwnerFilter = Annotated[
    Name | None,
    Query(
        description="Only keys that a node of this owner holds: a signer of the key's signer "
        "group, or a driver of its node group.",
    ),
]
MAX_SHOWN = 50
"""Characters of an unknown parameter in an answer."""
REPEATABLE = frozenset({"tag"})
"""Parameters whose values all count."""

UPDATE_METADATA = TypeAdapter(metadata.UpdateMetadata)

Body = TypeVar("Body")


def require_each_parameter_once(request: Request) -> None:
    """Raise ProblemError for a query parameter that was sent twice, unless it is REPEATABLE.

    A proxy that reads the query before this process could take the other value.
    """
    sent = [name for name, _ in request.query_params.multi_items()]
    names = [name for name in sent if name not in REPEATABLE]
    if len(names) != len(set(names)):
        raise ProblemError(Code.INVALID_REQUEST, "Send each query parameter once.")


def require_known_parameters(request: Request) -> None:
    """Raise ProblemError for a query parameter that the route does not have.

    A misspelled filter would list everything, and no one would notice. Only under /v1: load
    balancers may add parameters of their own to the paths of health.
    """
    if not request.query_params or not request.url.path.startswith("/v1/"):
        return
    known = {each.alias for each in request.scope["route"].dependant.query_params}
    if unknown := sorted(set(request.query_params) - known):
        raise ProblemError(
            Code.INVALID_REQUEST,
            f"query.{unknown[0][:MAX_SHOWN]}: this route has no query parameter of that name. "
            + (f"It has: {', '.join(sorted(known))}." if known else "It has none."),
        )


@dataclass(frozen=True, slots=True)
class Posted(Generic[Body]):
    """A request's body as it came and as its model, and who sent it.

    ``signature``: the application's own signature of ``text``; a node verifies it.
    """

    caller: Caller
    text: bytes
    body: Body
    signature: DetachedSignature | None

    def for_group(self, node_group: str) -> Submission:
        """Return the request as a job of this group of nodes carries it."""
        return Submission(self.caller.application_id, node_group, self.text, self.signature)


async def read_posted(
    caller: Caller, request: Request, adapter: TypeAdapter[Body], signature: str | None
) -> Posted[Body]:
    """Parse a request's body and its header with a signature. Raises ProblemError."""
    text, body = await body_of(request, adapter)
    return Posted(caller, text, body, detached_signature(signature))


async def body_of(request: Request, adapter: TypeAdapter[Body]) -> tuple[bytes, Body]:
    """Return the body as it came and as its model. Raise ProblemError for an unusable one."""
    text = await read_body(request, MAX_BODY_SIZE)
    require_strict_json(text)
    try:
        return text, adapter.validate_json(text)
    except ValidationError as error:
        raise invalid(error) from None
