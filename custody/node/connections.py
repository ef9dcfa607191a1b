"""A node's connections: to its database and to the control plane."""

import contextlib
from collections.abc import AsyncIterator

from custody.database.durability import warn_of_durability
from custody.database.errors import database_errors, once_reachable
from custody.database.pool import Pool
from custody.database.url import warn_of_tls
from custody.migrations.schema import check_database
from custody.node.control_plane_client import ControlPlaneClient
from custody.node.settings import NodeSettings

CONNECTIONS = 8


@contextlib.asynccontextmanager
async def open_database(settings: NodeSettings, *, patient: bool = False) -> AsyncIterator[Pool]:
    """Open the node's database, and check its session and schema. Raise OperatorError.

    ``patient``: wait for an unavailable database, as a daemon does, and log a connection that
    others can read. A command is not patient: a database that is unavailable, full or read-only at
    any time raises OperatorError.
    """
    url, name = settings.database.read_url(), f"{settings.program} {settings.node.id}"
    schema, migrate = schema_of(settings.program), f"{settings.program} migrate"
    async with Pool(url, CONNECTIONS, name) as pool:
        with database_errors():
            if patient:
                warn_of_tls(url)
                await once_reachable(lambda: check_database(pool, schema, migrate))
                await once_reachable(lambda: warn_of_durability(pool))
            else:
                await check_database(pool, schema, migrate)
        with contextlib.nullcontext() if patient else database_errors():
            yield pool


def schema_of(program: str) -> str:
    """Return the program's folder in custody/migrations/."""
    return program.replace("-", "_")


@contextlib.asynccontextmanager
async def open_client(settings: NodeSettings) -> AsyncIterator[ControlPlaneClient]:
    """Return a client of the control plane with this node's certificate. Raise OperatorError."""
    url, files = settings.control_plane.url, settings.control_plane_tls
    async with ControlPlaneClient(url, files) as client:
        yield client
