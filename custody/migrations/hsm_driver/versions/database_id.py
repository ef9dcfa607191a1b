"""The id of a driver group's database, by which its import keys on a token are told from others."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "database_id",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_database_id"),
    )
    op.execute("INSERT INTO database_id (id) VALUES (gen_random_uuid())")


def downgrade() -> None:
    op.drop_table("database_id")
