"""Columns of a job: the node that had it last, and the number of its lapsed leases."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("last_node", sa.String()))
    op.add_column(
        "jobs", sa.Column("lapses", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )


def downgrade() -> None:
    op.drop_column("jobs", "lapses")
    op.drop_column("jobs", "last_node")
