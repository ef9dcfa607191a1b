"""Master keys, wrapped keys, the journal, the audit chain."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _keys()
    _journal_and_audit()


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def _keys() -> None:
    op.create_table(
        "master_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("check_value", sa.LargeBinary(), nullable=False),
        _now("first_seen"),
        sa.PrimaryKeyConstraint("id", name="pk_master_keys"),
    )
    op.create_table(
        "wrapped_keys",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("scheme", sa.String(), nullable=False),
        sa.Column("curve", sa.String(), nullable=False),
        sa.Column("network", sa.String()),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("protection", sa.String(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("master_key", sa.String(), nullable=False),
        sa.Column("mechanism", sa.String(), nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("key_id", name="pk_wrapped_keys"),
    )


def _journal_and_audit() -> None:
    op.create_table(
        "journal",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("outcome", sa.LargeBinary(), nullable=False),
        _now("committed_at"),
        sa.Column("reported_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("job_id", name="pk_journal"),
    )
    op.create_index(
        "ix_journal_unreported",
        "journal",
        ["node"],
        postgresql_where=sa.text("reported_at IS NULL"),
    )
    op.create_index("ix_journal_committed_at", "journal", ["committed_at"])
    op.create_table(
        "audit",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("node", "sequence", name="pk_audit"),
    )
