"""Proofs of the token's keys, which each worker opens at its start."""

from alembic import op

from custody.migrations.node_tables import create_key_proofs

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_key_proofs()


def downgrade() -> None:
    op.drop_table("key_proofs")
