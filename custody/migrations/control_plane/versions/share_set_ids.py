"""The new name of a share set's id: share_set_id."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

RENAMED = (
    ("steps", "shares", "share_set_id"),
    ("keys", "shares", "share_set_id"),
    ("keys", "next_shares", "next_share_set_id"),
)


def upgrade() -> None:
    for table, old, new in RENAMED:
        op.alter_column(table, old, new_column_name=new)


def downgrade() -> None:
    for table, old, new in RENAMED:
        op.alter_column(table, new, new_column_name=old)
