"""The state `promised` of a share, between confirmed and active: the signer keeps the share."""

import sqlalchemy as sa
from alembic import op

from custody.runtime.errors import OperatorError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BEFORE = ("confirmed", "active", "repaired")
KEPT = ("confirmed", "promised", "active", "repaired")
ERASED = ("retired", "discarded", "abandoned")


def upgrade() -> None:
    """Fail while a share set is pending: earlier versions activated such a set without promises."""
    waiting = op.get_bind().scalar(sa.text("SELECT count(*) FROM shares WHERE state = 'confirmed'"))
    if waiting:
        raise OperatorError(
            f"{waiting} sets of shares are confirmed, but neither active nor discarded",
            "Start the earlier version, and request no key and no refresh. Wait until mpc-signer "
            "shares list shows no confirmed share. Then migrate again.",
        )
    _constrain(KEPT)
    op.drop_index("uq_shares_confirmed", "shares")
    _only_one("uq_shares_waiting", "state IN ('confirmed', 'promised')")


def downgrade() -> None:
    """Fail while a share is promised: its set must be activated first."""
    _constrain(BEFORE)
    op.drop_index("uq_shares_waiting", "shares")
    _only_one("uq_shares_confirmed", "state = 'confirmed'")


def _constrain(kept: tuple[str, ...]) -> None:
    op.drop_constraint("ck_shares_state", "shares")
    op.drop_constraint("ck_shares_erased", "shares")
    op.create_check_constraint("ck_shares_state", "shares", f"state IN {kept + ERASED}")
    op.create_check_constraint(
        "ck_shares_erased",
        "shares",
        "num_nonnulls(data_key, ciphertext, encryption_key)"
        f" = CASE WHEN state IN {kept} THEN 3 ELSE 0 END",
    )


def _only_one(name: str, where: str) -> None:
    op.create_index(name, "shares", ["key_id"], unique=True, postgresql_where=sa.text(where))
