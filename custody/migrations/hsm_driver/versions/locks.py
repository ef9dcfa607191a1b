"""Pinned applications, the requests that they have signed, the gate's decisions."""

from custody.migrations.node_tables import create_locks

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_locks()
