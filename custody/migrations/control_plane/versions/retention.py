"""The retention of finished signatures, and the external ids of those that were pruned."""

import sqlalchemy as sa
from alembic import op

from custody.migrations.node_tables import create_retention, now

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_retention()
    op.create_table(
        "spent_external_ids",
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        now("spent_at"),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.id"],
            name="fk_spent_external_ids_application_id_applications",
        ),
        sa.PrimaryKeyConstraint(
            "application_id", "endpoint", "external_id", name="pk_spent_external_ids"
        ),
    )
    op.create_index(
        "ix_jobs_finished_signatures",
        "jobs",
        ["finished_at", "id"],
        postgresql_where=sa.text("kind = 'Sign' AND finished_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Fail if external ids are spent: their requests would be accepted a second time."""
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT FROM spent_external_ids) THEN"
        " RAISE 'external ids of pruned requests would be forgotten'; END IF; END $$"
    )
    op.drop_index("ix_jobs_finished_signatures", "jobs")
    op.drop_table("spent_external_ids")
    op.drop_table("retention")
