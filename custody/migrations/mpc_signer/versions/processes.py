"""In flight: several ceremonies of a pair at once, and the process that each is under way in."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is in flight now was left so: the version before knows no processes."""
    op.add_column("in_flight", sa.Column("process", sa.Uuid()))
    op.drop_constraint("pk_in_flight", "in_flight")
    op.create_primary_key("pk_in_flight", "in_flight", ["key_id", "signer", "ceremony"])


def downgrade() -> None:
    """Of what was left with a pair one row stays, which bars it."""
    op.execute(
        "DELETE FROM in_flight USING in_flight AS other WHERE in_flight.key_id = other.key_id"
        " AND in_flight.signer = other.signer AND in_flight.ceremony > other.ceremony"
    )
    op.drop_constraint("pk_in_flight", "in_flight")
    op.create_primary_key("pk_in_flight", "in_flight", ["key_id", "signer"])
    op.drop_column("in_flight", "process")
