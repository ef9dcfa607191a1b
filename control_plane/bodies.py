"""Request bodies, exactly as they came and never more than is allowed."""

from fastapi import Request
from starlette.requests import ClientDisconnect

from control_plane.problems import Code, ProblemError


async def read_body(request: Request, limit: int) -> bytes:
    """The body's bytes. Raises ProblemError too_large beyond ``limit`` bytes, having read no more.

    A client that goes away meanwhile ends the request: there is nobody to answer.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
    except ClientDisconnect:
        raise ProblemError(Code.INVALID_REQUEST, "The body broke off.") from None
    return b"".join(chunks)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        Code.TOO_LARGE,
        f"A body may have {limit} bytes here.",
        headers={"Connection": "close"},  # the rest of the body is not read
    )
