"""The state `erased` of a share: an operator has erased the shares of an archived key."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BEFORE = ("confirmed", "promised", "active", "repaired", "retired", "discarded", "abandoned")


def upgrade() -> None:
    _constrain((*BEFORE, "erased"))


def downgrade() -> None:
    """Call erased shares retired: earlier versions make no key again that has a retired share."""
    op.execute("UPDATE shares SET state = 'retired' WHERE state = 'erased'")
    _constrain(BEFORE)


def _constrain(states: tuple[str, ...]) -> None:
    op.drop_constraint("ck_shares_state", "shares")
    op.create_check_constraint("ck_shares_state", "shares", f"state IN {states}")
