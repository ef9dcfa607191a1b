"""The encryption keys that protect nothing any more, so that a key that returns keeps its age."""

import sqlalchemy as sa
from alembic import op

from custody.migrations.node_tables import now

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "former_encryption_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        now("unused_since"),
        sa.PrimaryKeyConstraint("id", name="pk_former_encryption_keys"),
    )


def downgrade() -> None:
    op.drop_table("former_encryption_keys")
