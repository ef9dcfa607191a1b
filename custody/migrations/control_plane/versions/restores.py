"""Restored databases of nodes: the admins' acknowledgements, and the audit heads set aside."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "nodes",
        sa.Column(
            "audit_alarm_is_gap", sa.Boolean(), nullable=False, server_default=sa.text("true")
        ),
    )
    # earlier versions did not record which alarms a restore would explain
    op.execute("UPDATE nodes SET audit_alarm_is_gap = false WHERE audit_alarm IS NOT NULL")
    op.execute(
        "UPDATE nodes SET audit_alarm_is_gap = true"
        " WHERE audit_alarm LIKE 'the audit chain ends at%'"
        " OR audit_alarm LIKE 'audit record % was changed%'"
    )
    op.create_table(
        "audit_restores",
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key_id", sa.String(), nullable=False),
        sa.Column(
            "claimed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True)),
        sa.Column("acknowledged_by", sa.String()),
        sa.Column("acknowledged_reason", sa.String()),
        sa.Column("alarm", sa.String()),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_audit_restores_node_id_nodes"),
        sa.PrimaryKeyConstraint("node_id", "number", name="pk_audit_restores"),
    )
    op.add_column("audit_heads", sa.Column("hash", sa.LargeBinary()))
    op.add_column("audit_heads", sa.Column("set_aside_by", sa.Integer()))
    op.execute(
        "UPDATE audit_heads SET hash ="
        " decode(substr(convert_from(payload, 'UTF8')::json->>'hash', 3), 'hex')"
    )
    op.alter_column("audit_heads", "hash", nullable=False)
    op.drop_constraint("pk_audit_heads", "audit_heads")
    op.create_primary_key("pk_audit_heads", "audit_heads", ["node_id", "sequence", "hash"])


def downgrade() -> None:
    """Fail if two heads of one sequence are kept: they are evidence."""
    op.drop_constraint("pk_audit_heads", "audit_heads")
    op.create_primary_key("pk_audit_heads", "audit_heads", ["node_id", "sequence"])
    op.drop_column("audit_heads", "set_aside_by")
    op.drop_column("audit_heads", "hash")
    op.drop_table("audit_restores")
    op.drop_column("nodes", "audit_alarm_is_gap")
