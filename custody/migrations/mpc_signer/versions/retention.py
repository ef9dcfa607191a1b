"""The retention of the group's journal, one setting for all its nodes."""

from alembic import op

from custody.migrations.node_tables import create_retention

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_retention()


def downgrade() -> None:
    op.drop_table("retention")
