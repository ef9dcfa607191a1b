"""Errors as applications and nodes see them: problem+json (RFC 9457) with stable codes."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from custody.database.causes import DATABASE_ERRORS, Cause, cause_of, is_transient
from custody.wire.resources import Problem

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:custody:problem:"
RETRY_AFTER_SECONDS = 1
AUDIT_RETRY_AFTER_SECONDS = 600
LONG_RETRY_AFTER_SECONDS = 5
"""Retry-After of a problem that an operator must fix first, for example a full disk."""


class Code(StrEnum):
    """Stable names of what can go wrong; new ones may come, these never change their meaning."""

    MALFORMED_JSON = "malformed_json"
    UNAUTHENTICATED = "unauthenticated"
    MISSING_SCOPE = "missing_scope"
    CERTIFICATE_REJECTED = "certificate_rejected"
    NODE_NOT_REGISTERED = "node_not_registered"
    WRONG_GROUP = "wrong_group"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    EXTERNAL_ID_CONFLICT = "external_id_conflict"
    EXTERNAL_ID_SPENT = "external_id_spent"
    IDENTITY_CHANGED = "identity_changed"
    KEY_NOT_ACTIVE = "key_not_active"
    KEY_ARCHIVED = "key_archived"
    CHANGE_UNDER_WAY = "change_under_way"
    TOO_LARGE = "too_large"
    IMPORT_NOT_USABLE = "import_not_usable"
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_ALGORITHM = "unsupported_algorithm"
    NO_CAPABLE_NODE = "no_capable_node"
    NO_DELIVERY_SERVER = "no_delivery_server"
    UNKNOWN_SIGNER = "unknown_signer"
    UNKNOWN_SIGNER_GROUP = "unknown_signer_group"
    GROUP_EXISTS = "group_exists"
    NOT_DERIVABLE = "not_derivable"
    NOT_COPYABLE = "not_copyable"
    NOT_REFRESHABLE = "not_refreshable"
    NOT_SIGNABLE = "not_signable"
    REQUEST_MISMATCH = "request_mismatch"
    REQUEST_EXPIRED = "request_expired"
    TOO_MANY_WAITS = "too_many_waits"
    AUDIT_STORE_FULL = "audit_store_full"
    INTERNAL_ERROR = "internal_error"
    UNAVAILABLE = "unavailable"


STATUS_AND_TITLE = {
    Code.MALFORMED_JSON: (400, "The body is not JSON"),
    Code.UNAUTHENTICATED: (401, "A valid bearer token is needed"),
    Code.MISSING_SCOPE: (403, "The token may not do this"),
    Code.CERTIFICATE_REJECTED: (403, "The client certificate is not a node's, or has expired"),
    Code.NODE_NOT_REGISTERED: (403, "The node is not registered"),
    Code.WRONG_GROUP: (403, "The node belongs to another group"),
    Code.NOT_FOUND: (404, "The resource does not exist"),
    Code.METHOD_NOT_ALLOWED: (405, "This path has no such method"),
    Code.EXTERNAL_ID_CONFLICT: (409, "The external id was used for another request"),
    Code.EXTERNAL_ID_SPENT: (
        409,
        "The external id was used for a request that is deleted",
    ),
    Code.IDENTITY_CHANGED: (409, "The node's identity key is another than before"),
    Code.KEY_NOT_ACTIVE: (409, "The key cannot sign"),
    Code.KEY_ARCHIVED: (409, "The key is archived"),
    Code.CHANGE_UNDER_WAY: (409, "The key is being changed already"),
    Code.TOO_LARGE: (413, "The body is too large"),
    Code.IMPORT_NOT_USABLE: (409, "The import cannot be used"),
    Code.INVALID_REQUEST: (422, "The request is not valid"),
    Code.UNSUPPORTED_ALGORITHM: (422, "No node of the group can do this algorithm"),
    Code.NO_CAPABLE_NODE: (422, "No node of the group has reported yet"),
    Code.NO_DELIVERY_SERVER: (422, "The signers have no way to each other"),
    Code.UNKNOWN_SIGNER: (422, "There is no such signer"),
    Code.UNKNOWN_SIGNER_GROUP: (422, "There is no such signer group"),
    Code.GROUP_EXISTS: (409, "The name is another signer group's"),
    Code.NOT_DERIVABLE: (422, "This key has no such child"),
    Code.NOT_COPYABLE: (422, "This key has no shares to copy"),
    Code.NOT_REFRESHABLE: (422, "The shares of this key are not its own"),
    Code.NOT_SIGNABLE: (422, "This key cannot sign this request"),
    Code.REQUEST_MISMATCH: (422, "The body is about something else than the path"),
    Code.REQUEST_EXPIRED: (422, "The request's own time is over"),
    Code.TOO_MANY_WAITS: (429, "Too many requests are held open"),
    Code.AUDIT_STORE_FULL: (429, "The node's audit records take up all the space they may"),
    Code.INTERNAL_ERROR: (500, "Something went wrong here"),
    Code.UNAVAILABLE: (503, "Try again soon"),
}

EXTRA_HEADERS = {
    # and its connection makes room for those of applications
    Code.UNAUTHENTICATED: {"WWW-Authenticate": "Bearer", "Connection": "close"},
    Code.TOO_MANY_WAITS: {"Retry-After": str(RETRY_AFTER_SECONDS)},
    Code.AUDIT_STORE_FULL: {"Retry-After": str(AUDIT_RETRY_AFTER_SECONDS)},
    Code.UNAVAILABLE: {"Retry-After": str(RETRY_AFTER_SECONDS)},
}


class ProblemError(Exception):
    """Ends a request with a problem. ``detail`` says what was wrong and what to do about it."""

    def __init__(self, code: Code, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.headers = {**EXTRA_HEADERS.get(code, {}), **(headers or {})}

    def response(self) -> Response:
        status, title = STATUS_AND_TITLE[self.code]
        problem = Problem(
            type=TYPE_PREFIX + self.code,
            title=title,
            status=status,
            code=self.code,
            detail=self.detail,
        )
        return Response(
            problem.model_dump_json(), status, headers=self.headers, media_type=MEDIA_TYPE
        )


def not_registered(node: str) -> ProblemError:
    """Return the problem of a node that was removed after its request was let in."""
    return ProblemError(Code.NODE_NOT_REGISTERED, f"No node {node} is registered.")


def invalid(error: ValidationError | RequestValidationError) -> ProblemError:
    """Return the problem of data that does not fit its model: each fault, never the data itself."""
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return ProblemError(Code.MALFORMED_JSON, _faults(faults))
    return ProblemError(Code.INVALID_REQUEST, _faults(faults))


def _faults(faults: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(_fault(fault["loc"], fault["msg"]) for fault in faults)


def _fault(location: tuple[str | int, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, location))}: {message}" if location else message


def unavailable(cause: Cause) -> ProblemError:
    """Return the problem of a database that cannot be used now."""
    wait = LONG_RETRY_AFTER_SECONDS if cause.needs_quiet else RETRY_AFTER_SECONDS
    return ProblemError(
        Code.UNAVAILABLE,
        f"The service cannot use its database just now: {cause.what}. Send the request again; with "
        "an external_id that is always safe.",
        headers={"Retry-After": str(wait)},
    )


def install(app: Starlette) -> None:
    """Have an application answer with problems only."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    for kind in DATABASE_ERRORS:
        app.add_exception_handler(kind, _on_database_error)
    app.add_exception_handler(Exception, _on_bug)


async def _on_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    return error.response()


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Return the problem of the router's own errors: no such path, or no such method on it."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        problem = ProblemError(Code.NOT_FOUND, f"There is nothing at {request.url.path}.")
    elif error.status_code == 405:
        problem = ProblemError(
            Code.METHOD_NOT_ALLOWED,
            f"{request.url.path} has no {request.method}.",
            headers=error.headers,
        )
    else:
        problem = ProblemError(Code.INVALID_REQUEST, str(error.detail))
    return problem.response()


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return invalid(error).response()


async def _on_database_error(_request: Request, error: Exception) -> Response:
    if not is_transient(error):
        raise error
    return unavailable(cause_of(error)).response()


async def _on_bug(_request: Request, _error: Exception) -> Response:
    """Return the problem of an unexpected error. The traceback goes to the log alone."""
    return ProblemError(
        Code.INTERNAL_ERROR,
        "This is a fault of the service, and is in its log. Trying again may help; with an "
        "external_id that is always safe.",
    ).response()
