"""Engines of SQLAlchemy, over libpq."""

import psycopg
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from custody.database.causes import DATABASE_ERRORS, is_transient
from custody.database.url import conninfo

__all__ = ["DATABASE_ERRORS", "NAMES", "create_engine", "is_transient", "synchronous_engine"]

STATEMENT_TIMEOUT_MS = 30_000
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Of indexes and constraints, the same on every machine: migrations name them."""


def create_engine(url: str, pool_size: int = 8, name: str = "custody") -> AsyncEngine:
    """Return a pooled engine: its statements have a timeout, and it notices dead connections."""
    text = conninfo(url, name, options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}")

    async def connect() -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(text)

    return create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=STATEMENT_TIMEOUT_MS / 1000,
        pool_use_lifo=True,
        hide_parameters=True,
    )


def synchronous_engine(url: str, name: str = "custody") -> sqlalchemy.Engine:
    """Return an engine without a pool, for migrations. Raises ConfigurationError."""
    text = conninfo(url, name)
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(text),
        poolclass=sqlalchemy.NullPool,
        hide_parameters=True,
    )
