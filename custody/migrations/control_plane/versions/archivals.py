"""Archived keys: when each was archived, and its last request to archive it."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_LISTS = {
    "ix_keys_application_id_archived_created_at_id": "archived_at IS NOT NULL",
    "ix_keys_application_id_unarchived_created_at_id": "archived_at IS NULL",
}


def upgrade() -> None:
    op.add_column("keys", sa.Column("archived_at", sa.DateTime(timezone=True)))
    op.add_column("keys", sa.Column("archiving", sa.Uuid()))
    op.create_index(
        "ix_keys_archived",
        "keys",
        [sa.text("coalesce(root_id, id)")],
        postgresql_where=sa.text("archived_at IS NOT NULL OR archiving IS NOT NULL"),
    )
    for name, condition in _LISTS.items():
        op.create_index(
            name,
            "keys",
            ["application_id", "created_at", "id"],
            postgresql_where=sa.text(condition),
        )


def downgrade() -> None:
    for name in ("ix_keys_archived", *_LISTS):
        op.drop_index(name, "keys")
    op.drop_column("keys", "archiving")
    op.drop_column("keys", "archived_at")
