"""What the commands of control-plane share: the configuration, and one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from custody.control_plane.audit.own_chain import Auditor
    from custody.control_plane.settings import Settings
    from custody.database.connection import Connection

Result = TypeVar("Result")


def path_of(context: typer.Context) -> Path:
    """Return the path of the configuration file."""
    path: Path = context.find_root().obj
    return path


def settings_of(context: typer.Context) -> Settings:
    """Read the configuration. Raise ConfigurationError."""
    from custody.control_plane.settings import load_settings

    return load_settings(path_of(context))


def with_database(
    context: typer.Context, work: Callable[[Connection], Awaitable[Result]]
) -> Result:
    """Do something in one transaction on the configured database. Raises OperatorError."""
    import asyncio

    from custody.control_plane.database import MIGRATE_COMMAND, TREE
    from custody.database.errors import database_errors
    from custody.database.pool import Pool
    from custody.migrations import schema

    url = settings_of(context).database.read_url()

    async def run() -> Result:
        async with Pool(url, 1, "control-plane") as pool:
            await schema.check_database(pool, TREE, MIGRATE_COMMAND)
            async with pool.transaction() as connection:
                return await work(connection)

    with database_errors():
        return asyncio.run(run())


def audited(
    context: typer.Context, work: Callable[[Connection, Auditor], Awaitable[Result]]
) -> Result:
    """Do something and record it in the control plane's audit, in one transaction.

    Raises OperatorError.
    """
    from custody.control_plane.audit.own_chain import Auditor
    from custody.runtime.operators import operator_name

    auditor = Auditor(operator_name(), settings_of(context).jobs.signer())
    return with_database(context, lambda connection: work(connection, auditor))
