"""Finished imports, and the ciphertexts of imports and copies, for the retention."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_jobs_finished_imports",
        "jobs",
        ["finished_at", "id"],
        postgresql_where=sa.text(
            "kind IN ('PrepareImport', 'ImportKey', 'CopyKey') AND payload <> ''"
            " AND finished_at IS NOT NULL"
        ),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_finished_imports", "jobs")
