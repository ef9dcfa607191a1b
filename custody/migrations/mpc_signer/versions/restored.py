"""What a signer needs to notice that its database was restored, and to ask its peers."""

import sqlalchemy as sa
from alembic import op

from custody.runtime.errors import OperatorError

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "restore_watch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.Uuid(), nullable=False),
        sa.Column("noticed_at", sa.DateTime(timezone=True)),
        sa.Column("tickets_from", sa.DateTime(timezone=True)),
        sa.Column("why", sa.String()),
        sa.Column("nonce", sa.LargeBinary()),
        sa.Column("answered_at", sa.DateTime(timezone=True)),
        sa.Column("lost_head", sa.LargeBinary()),
        sa.CheckConstraint("id = 1", name="ck_restore_watch_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_restore_watch"),
    )
    op.create_table(
        "restore_answers",
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("bans", sa.Integer(), nullable=False),
        sa.Column("named", sa.ARRAY(sa.String()), nullable=False, server_default="{}"),
        sa.Column("operator", sa.String()),
        sa.Column("reason", sa.String()),
        sa.Column(
            "answered_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.PrimaryKeyConstraint("signer", name="pk_restore_answers"),
    )
    op.create_table(
        "needed_repairs",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("ceremony", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        sa.Column("told_by", sa.ARRAY(sa.String()), nullable=False),
        sa.Column(
            "noticed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.PrimaryKeyConstraint("key_id", name="pk_needed_repairs"),
    )
    op.add_column(
        "shares",
        sa.Column("uncertain", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    """Fail while peers are asked or a share is uncertain: the earlier version would use it."""
    asking = op.get_bind().scalar(
        sa.text("SELECT count(*) FROM restore_watch WHERE nonce IS NOT NULL")
    )
    uncertain = op.get_bind().scalar(sa.text("SELECT count(*) FROM shares WHERE uncertain"))
    if asking or uncertain:
        raise OperatorError(
            "the signer was restored, and not all of its peers have answered",
            "See mpc-signer bans answers and mpc-signer shares list, then migrate again.",
        )
    op.drop_column("shares", "uncertain")
    op.drop_table("needed_repairs")
    op.drop_table("restore_answers")
    op.drop_table("restore_watch")
