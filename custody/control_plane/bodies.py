"""Request bodies, exactly as they came and never more than is allowed."""

from typing import TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from custody.control_plane import problems
from custody.control_plane.problems import Code, ProblemError
from custody.wire.encoding import Model
from custody.wire.strict_json import NotJson, NotStrictJson, parse_json

Body = TypeVar("Body", bound=Model)

MAX_DISCARDED = 32 * 1024 * 1024
"""Bytes of too large a body that are read and dropped. A client that is answered and cut off while
it is still sending often loses the answer, and sees a broken connection instead of the reason."""


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body. Raise ProblemError too_large beyond ``limit`` bytes; no more are kept.

    A client that goes away meanwhile ends the request: there is nobody to answer.
    """
    if _declared_size(request) > limit + MAX_DISCARDED:
        raise _too_large(limit, is_read=False)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit + MAX_DISCARDED:
                raise _too_large(limit, is_read=False)
            if size <= limit:
                chunks.append(chunk)
            else:
                chunks.clear()
    except ClientDisconnect:
        raise ProblemError(Code.INVALID_REQUEST, "The body broke off.") from None
    if size > limit:
        raise _too_large(limit, is_read=True)
    return b"".join(chunks)


def require_strict_json(body: bytes) -> None:
    """Raise ProblemError for what is not JSON, or has more than one meaning."""
    try:
        parse_json(body)
    except NotJson as error:
        raise ProblemError(Code.MALFORMED_JSON, f"{error}.") from None
    except NotStrictJson as error:
        raise ProblemError(Code.INVALID_REQUEST, f"The body is ambiguous: {error}.") from None


async def read_model(request: Request, model: type[Body], limit: int) -> Body:
    """Return a node's body as a model. Raise ProblemError."""
    body = await read_body(request, limit)
    if b"\\u0000" in body:  # PostgreSQL's text cannot hold it
        raise ProblemError(Code.INVALID_REQUEST, "The character U+0000 is not allowed.")
    require_strict_json(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error) from None


def model_response(model: Model) -> Response:
    """Return the answer to a node."""
    return Response(model.model_dump_json(), media_type="application/json")


def _declared_size(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


def _too_large(limit: int, is_read: bool) -> ProblemError:
    return ProblemError(
        Code.TOO_LARGE,
        f"The limit of a body is {limit} bytes.",
        headers=None if is_read else {"Connection": "close"},
    )
