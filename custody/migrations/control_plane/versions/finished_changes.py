"""An index on the finished jobs that make or change keys: a restored node asks for them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_jobs_finished_changes",
        "jobs",
        ["node_group", "finished_at"],
        postgresql_where=sa.text("kind <> 'Sign' AND finished_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_finished_changes", "jobs")
