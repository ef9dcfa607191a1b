"""Is the process alive, and can it work? For load balancers and supervisors."""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from custody.control_plane.api.answers import answer
from custody.control_plane.api.services import Services
from custody.control_plane.problems import unavailable

CERTIFICATES = (
    "A certificate or a CRL ends soon, or changed TLS files cannot be used. The log says which; so "
    "does: control-plane doctor"
)


class Health(BaseModel):
    status: str


class Readiness(Health):
    """``problems``: what an operator should correct although requests are served, by part."""

    problems: dict[str, str] = {}


def router(services: Services) -> APIRouter:
    """GET of /healthz and /readyz, without a token."""
    routes = APIRouter(tags=["Health"])

    @routes.get("/healthz", operation_id="is_alive", summary="Alive?", response_model=Health)
    async def healthz() -> Response:
        """200 while the process runs."""
        return answer(Health(status="ok"))

    @routes.get(
        "/readyz",
        operation_id="is_ready",
        summary="Ready?",
        response_model=Readiness,
        responses={
            503: {"description": "The database takes no writes, or the process is stopping."}
        },
    )
    async def readyz() -> Response:
        """200 while requests can be served: a write to the database was committed lately."""
        if services.notifications.closed:
            return answer(Readiness(status="stopping"), 503)
        cause = await services.database.health.check()
        if cause is not None:
            raise unavailable(cause)
        if services.certificate_problem() is not None:  # the whole text is not for everybody
            problems = {"certificates": CERTIFICATES}
            return answer(Readiness(status="degraded", problems=problems))
        return answer(Readiness(status="ok"))

    return routes
