"""What operators have stated about keys: restored ones, and confirmed backups."""

from alembic import op

from custody.migrations.node_tables import create_key_statements

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_key_statements()


def downgrade() -> None:
    op.drop_table("key_backups")
    op.drop_table("restored_keys")
