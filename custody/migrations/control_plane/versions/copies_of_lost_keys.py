"""Copies of keys that the database does not know."""

import sqlalchemy as sa
from alembic import op

from custody.runtime.errors import OperatorError

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_LOST = """
    SELECT count(*) FROM keys AS copy WHERE copied_from IS NOT NULL
        AND NOT EXISTS (SELECT FROM keys WHERE keys.id = copy.copied_from)
"""


def upgrade() -> None:
    op.drop_constraint("fk_keys_copied_from_keys", "keys")


def downgrade() -> None:
    """Fail while there are such copies: the earlier version has no place for them."""
    lost = op.get_bind().scalar(sa.text(_LOST))
    if lost:
        raise OperatorError(
            f"{lost} keys are copies of keys that this database does not know",
            "Stay at this version: the earlier version cannot keep them.",
        )
    op.create_foreign_key("fk_keys_copied_from_keys", "keys", "keys", ["copied_from"], ["id"])
