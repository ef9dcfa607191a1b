"""The trace context of a request, which its job carries to the node."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.String()))


def downgrade() -> None:
    op.drop_column("jobs", "traceparent")
