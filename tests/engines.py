"""SQLAlchemy's engines, by which tests look into databases and change them."""

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from custody.database.url import conninfo


def create_engine(url: str, pool_size: int = 8, name: str = "tests") -> AsyncEngine:
    """Return a pooled engine."""
    text = conninfo(url, name, options="-c statement_timeout=30s")

    async def connect() -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(text)

    return create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,
    )
