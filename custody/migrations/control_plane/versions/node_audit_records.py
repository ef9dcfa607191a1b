"""The audit records that nodes send, beside the heads that they have signed."""

import sqlalchemy as sa
from alembic import op

from custody.migrations.node_tables import now

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "node_audit_records",
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("signature", sa.LargeBinary()),
        sa.Column("signing_key_id", sa.String()),
        now("received_at"),
        sa.Column("set_aside_by", sa.Integer()),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name="fk_node_audit_records_node_id_nodes"
        ),
        sa.PrimaryKeyConstraint("node_id", "sequence", "hash", name="pk_node_audit_records"),
    )
    op.create_index(
        "ix_node_audit_records_not_sign",
        "node_audit_records",
        ["node_id", "kind", "sequence"],
        postgresql_where=sa.text("kind <> 'Sign'"),
    )
    op.add_column(
        "nodes",
        sa.Column(
            "audit_record_bytes", sa.BigInteger(), nullable=False, server_default=sa.text("0")
        ),
    )


def downgrade() -> None:
    op.drop_column("nodes", "audit_record_bytes")
    op.drop_table("node_audit_records")
