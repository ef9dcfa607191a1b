"""Is the process alive, and can it work? For load balancers and supervisors."""

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy import text

from control_plane.api.answers import answer
from control_plane.api.services import Services

_PROBE = text("SELECT 1")


class Health(BaseModel):
    status: str


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
        response_model=Health,
        responses={503: {"description": "The database is away, or the process is stopping."}},
    )
    async def readyz() -> Response:
        """200 while requests can be served."""
        if services.notifications.closed:
            return answer(Health(status="stopping"), 503)
        await services.database.rows(_PROBE)
        return answer(Health(status="ok"))

    return routes
