"""Copies of keys for other signer groups."""

import sqlalchemy as sa
from alembic import op

from custody.runtime.errors import OperatorError

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("keys", sa.Column("copied_from", sa.Uuid()))
    op.create_foreign_key("fk_keys_copied_from_keys", "keys", "keys", ["copied_from"], ["id"])
    op.create_index(
        "ix_keys_copied_from",
        "keys",
        ["copied_from"],
        postgresql_where=sa.text("copied_from IS NOT NULL"),
    )


def downgrade() -> None:
    """Fail while there are copies: the earlier version would not know what made them."""
    copies = op.get_bind().scalar(
        sa.text("SELECT count(*) FROM keys WHERE copied_from IS NOT NULL")
    )
    if copies:
        raise OperatorError(
            f"{copies} keys are copies for another signer group",
            "Stay at this version: the earlier version cannot show or use them.",
        )
    op.drop_index("ix_keys_copied_from", "keys")
    op.drop_constraint("fk_keys_copied_from_keys", "keys")
    op.drop_column("keys", "copied_from")
