"""The table of the health probe: a write into it shows whether the database takes writes."""

from alembic import op

from custody.migrations.node_tables import create_database_probe

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_database_probe()


def downgrade() -> None:
    op.drop_table("database_probe")
