"""The work of every tree's env.py: one transaction, one migration at a time."""

from alembic import context
from sqlalchemy import text

from custody.database.engine import synchronous_engine
from custody.wire.framing import Domain, tagged_hash


def run_migrations(tree: str) -> None:
    """Bring the database in ``config.attributes["url"]`` to the requested revision.

    Two migrations at once are safe: the second waits for the first, and then changes nothing.
    """
    engine = synchronous_engine(context.config.attributes["url"])
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(tree)})
            context.run_migrations()


def lock_key(tree: str) -> int:
    """Return the advisory lock of a tree: a signed 64-bit number made from the tree's name."""
    return int.from_bytes(tagged_hash(Domain.MIGRATIONS, tree.encode())[:8], signed=True)
