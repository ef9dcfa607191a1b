"""The answers of the local port: /healthz, /readyz, /metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from custody.node.metrics import PROBLEMS, READY
from custody.wire.node_api import MAX_WARNINGS, NodeHealth


@dataclass(frozen=True)
class Part:
    """One part that a node needs; ``problem`` is None while the part works.

    ``stops_work``: with a problem here, no job can be done.
    """

    name: str
    problem: Callable[[], str | None]
    stops_work: bool = True


class Health:
    """Asks each part for its state, when somebody asks for the node's health."""

    def __init__(self, parts: list[Part], warnings: Callable[[], Sequence[str]] = tuple) -> None:
        """``warnings``: what an operator should do although the node works."""
        self._parts = parts
        self._warnings = warnings

    def problems(self) -> dict[str, str]:
        found = {part.name: part.problem() for part in self._parts}
        READY.set(self.obstacle() is None)
        for name, problem in found.items():
            PROBLEMS.labels(name).set(problem is not None)
        return {name: problem for name, problem in found.items() if problem}

    def obstacle(self) -> str | None:
        """Return a problem that stops all jobs; None while jobs can be done."""
        for part in self._parts:
            if part.stops_work and (problem := part.problem()) is not None:
                return f"{part.name}: {problem}"
        return None

    def summary(self) -> NodeHealth:
        """Return the health for the heartbeat."""
        problems = self.problems()
        detail = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        works = not any(part.stops_work and part.name in problems for part in self._parts)
        return NodeHealth(
            status="degraded" if problems else "ok",
            detail=detail or None,
            works=works,
            warnings=tuple(self._warnings())[:MAX_WARNINGS],
        )

    def application(self) -> Starlette:
        async def healthz(_: Request) -> Response:
            return JSONResponse({"status": "ok"})

        async def readyz(_: Request) -> Response:
            problems = self.problems()
            return JSONResponse(
                {
                    "status": "degraded" if problems else "ok",
                    "problems": problems,
                    "warnings": list(self._warnings()),
                },
                # a problem that does not stop all work leaves the node ready
                status_code=200 if self.obstacle() is None else 503,
            )

        async def metrics(_: Request) -> Response:
            self.problems()
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

        return Starlette(
            routes=[
                Route("/healthz", healthz),
                Route("/readyz", readyz),
                Route("/metrics", metrics),
            ]
        )
