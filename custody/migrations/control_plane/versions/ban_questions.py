"""The questions of restored signers for forgotten bans, and the other signers' answers."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ban_questions",
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key_id", sa.String(), nullable=False),
        sa.Column(
            "asked_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.ForeignKeyConstraint(
            ["signer"], ["nodes.id"], name="fk_ban_questions_signer_nodes", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("signer", name="pk_ban_questions"),
    )
    op.create_table(
        "ban_answers",
        sa.Column("asker", sa.String(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key_id", sa.String(), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.ForeignKeyConstraint(
            ["asker"],
            ["ban_questions.signer"],
            name="fk_ban_answers_asker_ban_questions",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("asker", "signer", "part", name="pk_ban_answers"),
    )


def downgrade() -> None:
    op.drop_table("ban_answers")
    op.drop_table("ban_questions")
