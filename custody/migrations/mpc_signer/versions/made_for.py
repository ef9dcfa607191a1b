"""The request that a key was made for, kept with each share: attested with every set of shares.

An existing share has no such request. Its attestations say so, and no application that pins its
nodes accepts them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shares", sa.Column("made_for", sa.String))


def downgrade() -> None:
    op.drop_column("shares", "made_for")
