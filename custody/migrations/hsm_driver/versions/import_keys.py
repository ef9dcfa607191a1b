"""One-time import keys, and stored keys that were imported."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "import_keys",
        sa.Column("import_id", sa.Uuid(), primary_key=True),
        sa.Column("application", sa.LargeBinary()),
        sa.Column("scheme", sa.String(), nullable=False),
        sa.Column("curve", sa.String(), nullable=False),
        sa.Column("protection", sa.String()),
        sa.Column("wrapping", sa.String()),
        sa.Column("token", sa.String()),
        sa.Column("import_key", sa.LargeBinary()),
        sa.Column("used_by", sa.Uuid()),
        sa.Column("request", sa.LargeBinary()),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
    )
    op.add_column(
        "wrapped_keys",
        sa.Column("imported", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    op.drop_column("wrapped_keys", "imported")
    op.drop_table("import_keys")
