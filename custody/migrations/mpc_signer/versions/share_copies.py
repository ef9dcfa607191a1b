"""Share copies for the customer's bucket, with their bytes until the bucket has them."""

import sqlalchemy as sa
from alembic import op

from custody.runtime.errors import OperatorError

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.text("now()")
    time = sa.DateTime(timezone=True)
    op.create_table(
        "share_copies",
        sa.Column("key_id", sa.Uuid(), primary_key=True),
        sa.Column("ceremony", sa.Uuid(), primary_key=True),
        sa.Column("place", sa.String(), primary_key=True),
        sa.Column("customer_key", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("last_fault", sa.String()),
        sa.Column("retry_at", time, nullable=False, server_default=now),
        sa.Column("created_at", time, nullable=False, server_default=now),
        sa.Column("stored_at", time),
        sa.CheckConstraint("num_nonnulls(content, stored_at) = 1", name="ck_share_copies_content"),
    )
    op.create_index(
        "ix_share_copies_waiting",
        "share_copies",
        ["retry_at"],
        postgresql_where=sa.text("stored_at IS NULL"),
    )


def downgrade() -> None:
    """Fail while a copy waits for the bucket: its key could become Active without the copy."""
    waiting = op.get_bind().scalar(
        sa.text("SELECT count(*) FROM share_copies WHERE stored_at IS NULL")
    )
    if waiting:
        raise OperatorError(
            f"{waiting} share copies are not in the customer's bucket",
            "Wait until mpc-signer layer4 status shows none, then migrate again.",
        )
    op.drop_table("share_copies")
