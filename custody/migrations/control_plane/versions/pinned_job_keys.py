"""The job-signing keys that nodes and delivery servers pin, as heartbeats say."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("job_signing_keys", ARRAY(sa.String())))
    op.add_column(
        "nodes",
        sa.Column(
            "delivery_job_signing_keys",
            JSONB(),
            nullable=False,
            server_default=sa.text("'{}'::jsonb"),
        ),
    )


def downgrade() -> None:
    op.drop_column("nodes", "delivery_job_signing_keys")
    op.drop_column("nodes", "job_signing_keys")
