"""The retention of the audit records that nodes send."""

import sqlalchemy as sa
from alembic import op

from custody.migrations.node_tables import now

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "node_audit_retention",
        now("changed_at"),
        sa.Column("days", sa.Integer()),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("changed_at", name="pk_node_audit_retention"),
    )


def downgrade() -> None:
    op.drop_table("node_audit_retention")
