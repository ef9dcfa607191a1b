"""PostgreSQL: URLs and engines."""

import psycopg
import sqlalchemy
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from custody.database.causes import is_read_only
from custody.runtime.errors import ConfigurationError

CONNECT_TIMEOUT = 5
STATEMENT_TIMEOUT_MS = 30_000
DATABASE_ERRORS = (SQLAlchemyError, psycopg.Error)
"""What statements raise: psycopg's errors in statements.py, SQLAlchemy's elsewhere."""
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Of indexes and constraints, the same on every machine: migrations name them."""
KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3}


def database_url(url: str) -> sqlalchemy.URL:
    """A postgresql:// URL with our driver in it. Raises ConfigurationError."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "the database URL cannot be read", "Write postgresql://user@host:port/database."
        ) from None
    if parsed.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"the database is {parsed.get_backend_name()}, but only PostgreSQL is supported",
            "Write postgresql://user@host:port/database.",
        )
    return parsed.set(drivername="postgresql+psycopg")


def conninfo(url: str, name: str, **more: str) -> str:
    """A connection string for psycopg itself, with what every connection of ours has."""
    parsed = database_url(url).set(drivername="postgresql")
    return make_conninfo(
        parsed.render_as_string(hide_password=False),
        connect_timeout=CONNECT_TIMEOUT,
        application_name=name,
        **KEEPALIVES,
        **more,
    )


def create_engine(url: str, pool_size: int = 8, name: str = "custody") -> AsyncEngine:
    """A pooled engine: its statements have a timeout, and it notices dead connections."""
    return create_async_engine(
        database_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=STATEMENT_TIMEOUT_MS / 1000,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "application_name": name,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            **KEEPALIVES,
        },
    )


def is_transient(error: BaseException) -> bool:
    """Whether a database error says that the database cannot be used now.

    So for one that is away, whose disk is full or that takes no writes; False where what was asked
    for was wrong.
    """
    if isinstance(error, PoolTimeout | OperationalError | OSError) or is_read_only(error):
        return True
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated
