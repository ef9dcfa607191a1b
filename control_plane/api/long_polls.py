"""How many requests are held open at once: an ASGI application around the public API's.

A request with ``wait`` keeps its connection and a waiter for a minute, so that one application,
or somebody who has its token, could hold all that this process has. What is refused here was
not begun: nothing has been created.
"""

from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from control_plane.problems import Code, ProblemError
from control_plane.settings import LongPollsSection


class LongPolls:
    """Counts them by token, as it was sent: whether it is one is found out inside."""

    def __init__(self, app: Any, limits: LongPollsSection) -> None:
        self._app = app
        self._limits = limits
        self._of_token = Counter[bytes]()
        self._total = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not _waits(scope["query_string"]):
            await self._app(scope, receive, send)
            return
        token = dict(scope["headers"]).get(b"authorization", b"")
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

    def _is_full(self, token: bytes) -> bool:
        limits = self._limits
        return self._total >= limits.total or self._of_token[token] >= limits.of_token


def _waits(query: bytes) -> bool:
    """Whether it asks to be held open; a value that is no number is refused inside."""
    if b"wait" not in query:
        return False
    try:
        return any(float(each) > 0 for each in parse_qs(query.decode("latin-1")).get("wait", []))
    except ValueError:
        return False


def _refusal(of_token: int) -> ProblemError:
    return ProblemError(
        Code.TOO_MANY_WAITS,
        f"A token may have {of_token} requests with `wait` open at once here, and all tokens "
        "together have a limit, too. Send it again soon, or without `wait`: nothing was begun.",
    )
