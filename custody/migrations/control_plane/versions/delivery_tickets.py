"""The delivery ticket, in addition to the signers' ticket."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("steps", sa.Column("delivery_ticket", sa.LargeBinary()))
    op.add_column("steps", sa.Column("delivery_signature", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("steps", "delivery_signature")
    op.drop_column("steps", "delivery_ticket")
