"""The nodes that were removed, and from when on a node's certificates are accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("certificates_from", sa.DateTime(timezone=True)))
    op.create_table(
        "removed_nodes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column(
            "removed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removed_nodes")),
    )


def downgrade() -> None:
    op.drop_table("removed_nodes")
    op.drop_column("nodes", "certificates_from")
