"""The uses of SQLAlchemy: tables, and the engine that migrations run on."""

import psycopg
import sqlalchemy

from custody.database.url import conninfo

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of indexes and constraints, the same on every machine: migrations name them."""


def synchronous_engine(url: str, name: str = "custody") -> sqlalchemy.Engine:
    """Return an engine without a pool, for migrations. Raise ConfigurationError."""
    text = conninfo(url, name)
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(text),
        poolclass=sqlalchemy.NullPool,
        hide_parameters=True,
    )
