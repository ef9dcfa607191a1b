"""In flight: several ceremonies of a pair at once, each with the process that runs it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the process. Existing rows have none, so they count as left by a stopped process."""
    op.add_column("in_flight", sa.Column("process", sa.Uuid()))
    op.drop_constraint("pk_in_flight", "in_flight")
    op.create_primary_key("pk_in_flight", "in_flight", ["key_id", "signer", "ceremony"])


def downgrade() -> None:
    """Keep one row of each pair: one row is enough to bar the pair."""
    op.execute(
        "DELETE FROM in_flight USING in_flight AS other WHERE in_flight.key_id = other.key_id"
        " AND in_flight.signer = other.signer AND in_flight.ceremony > other.ceremony"
    )
    op.drop_constraint("pk_in_flight", "in_flight")
    op.create_primary_key("pk_in_flight", "in_flight", ["key_id", "signer"])
    op.drop_column("in_flight", "process")
