"""The local port: /healthz, /readyz and /metrics."""

from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web
from prometheus_client import generate_latest

from custody.delivery.clock import ServerClock
from custody.delivery.metrics import CLOCK_OFFSET, HELD_BYTES, READY, SESSIONS
from custody.delivery.sessions import Sessions


class Health:
    """The routes of the local port. Each request computes the state at that moment."""

    def __init__(
        self,
        sessions: Sessions,
        clock: ServerClock,
        certificates: Callable[[], str | None] = lambda: None,
        job_keys: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``certificates``: what is wrong with the TLS files, although the server delivers.

        ``job_keys``: why the job-signing keys of the configuration are not pinned.
        """
        self._others = {"certificates": certificates, "job-signing keys": job_keys}
        self._sessions = sessions
        self._clock = clock

    def problems(self) -> dict[str, str]:
        """Return what lets no ceremony begin here."""
        found = {}
        if self._sessions.is_full():
            found["limits"] = "no ceremony can be begun: the limit of sessions or bytes is reached"
        clock = self._clock.problem(datetime.now(UTC))
        if clock is not None:
            found["clock"] = clock
        return found

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _: web.Request) -> web.Response:
        problems = self.problems()
        others = {name: what for name, of in self._others.items() if (what := of()) is not None}
        shown = {**problems, **others}
        return web.json_response(
            {"status": "degraded" if shown else "ok", "problems": shown},
            status=503 if problems else 200,
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        READY.set(not self.problems())
        offset = self._clock.offset(datetime.now(UTC))
        CLOCK_OFFSET.set(0 if offset is None else offset.total_seconds())
        SESSIONS.set(len(self._sessions))
        HELD_BYTES.set(self._sessions.budget.held)
        return web.Response(body=generate_latest(), content_type="text/plain", charset="utf-8")
