"""The keys that are archived, and do not sign."""

from custody.migrations.node_tables import create_archivals, drop_archivals

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_archivals()


def downgrade() -> None:
    drop_archivals()
