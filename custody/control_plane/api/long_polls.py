"""A limit for requests that are held open: an ASGI application around the public API's.

A request with ``wait`` keeps its connection and a waiter for a minute, so that one application,
or somebody who has its token, could hold all that this process has. What is refused here was
not begun: nothing has been created.
"""

from collections import Counter
from typing import Any

from starlette.datastructures import Headers, QueryParams

from custody.control_plane.api.authentication import bearer_token
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.settings import LongPollsSection


class LongPolls:
    """Counts them by token: whether the token is valid is found out inside.

    Query and headers are read by the same functions as inside, so that no request is held open
    that was not counted here, or was counted as another token's.
    """

    def __init__(self, app: Any, limits: LongPollsSection) -> None:
        self._app = app
        self._limits = limits
        self._of_token = Counter[str]()
        self._total = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not _waits(scope["query_string"]):
            await self._app(scope, receive, send)
            return
        try:
            token = bearer_token(Headers(scope=scope))
        except ProblemError as problem:
            await problem.response()(scope, receive, send)
            return
        if self._is_full(token):
            await _refusal(self._limits.of_token).response()(scope, receive, send)
            return
        self._total += 1
        self._of_token[token] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._total -= 1
            self._of_token[token] -= 1
            if not self._of_token[token]:
                del self._of_token[token]

    def _is_full(self, token: str) -> bool:
        limits = self._limits
        return self._total >= limits.total or self._of_token[token] >= limits.of_token


def _waits(query: bytes) -> bool:
    """Return whether it could be held open: unless each ``wait`` that Starlette finds is 0."""
    return any(not _is_zero(each) for each in QueryParams(query).getlist("wait"))


def _is_zero(value: str) -> bool:
    try:
        return float(value) == 0
    except ValueError:
        return False


def _refusal(of_token: int) -> ProblemError:
    return ProblemError(
        Code.TOO_MANY_WAITS,
        f"A token may have {of_token} requests with `wait` open at once here, and all tokens "
        "together have a limit, too. Nothing was started. Retry soon, or send no `wait`.",
    )
