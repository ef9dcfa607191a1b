"""Imports of keys: a job without a key, and keys whose private half came from the application."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_INDEX = "ix_jobs_failed_keys"
_COLUMNS = ["application_id", "created_at", "id"]


def upgrade() -> None:
    op.add_column(
        "keys", sa.Column("imported", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.alter_column("jobs", "key_id", nullable=True)
    _make_index("kind IN ('GenerateKey', 'ImportKey', 'CopyKey')")


def downgrade() -> None:
    op.execute("DELETE FROM jobs WHERE kind = 'PrepareImport'")
    op.alter_column("jobs", "key_id", nullable=False)
    op.drop_column("keys", "imported")
    _make_index("kind = 'GenerateKey'")


def _make_index(kinds: str) -> None:
    """Make the index of failed keys again, for these kinds of jobs."""
    op.drop_index(_INDEX, "jobs")
    condition = sa.text(f"{kinds} AND state IN ('Denied', 'Failed')")
    op.create_index(_INDEX, "jobs", _COLUMNS, postgresql_where=condition)
