"""Store and archival of wallets, copied from their keys, with indexes of lists."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_OF_KEY = "fk_wallets_key_id_keys"
_OF_ARCHIVED_KEY = "fk_wallets_key_id_is_archived_keys"
_UNIQUE = "uq_keys_id_is_archived"
_FILL_WALLETS = """
    UPDATE wallets SET store = keys.store, is_archived = keys.is_archived
    FROM keys WHERE keys.id = wallets.key_id
"""
_LISTS: dict[str, tuple[list[str], str | None]] = {
    "store": (["store"], None),
    "archived": ([], "is_archived"),
    "unarchived": ([], "NOT is_archived"),
    "archived_network": (["network"], "is_archived"),
    "archived_store": (["store"], "is_archived"),
}


def upgrade() -> None:
    is_archived = sa.Computed("archived_at IS NOT NULL", persisted=True)
    op.add_column("keys", sa.Column("is_archived", sa.Boolean(), is_archived, nullable=False))
    op.create_unique_constraint(_UNIQUE, "keys", ["id", "is_archived"])
    op.add_column("wallets", sa.Column("store", sa.String()))
    op.add_column(
        "wallets",
        sa.Column("is_archived", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.execute(_FILL_WALLETS)
    op.alter_column("wallets", "store", nullable=False)
    op.drop_constraint(_OF_KEY, "wallets")
    op.create_foreign_key(
        _OF_ARCHIVED_KEY,
        "wallets",
        "keys",
        ["key_id", "is_archived"],
        ["id", "is_archived"],
        onupdate="CASCADE",
    )
    for name, (columns, condition) in _LISTS.items():
        op.create_index(
            f"ix_wallets_application_id_{name}_created_at_id",
            "wallets",
            ["application_id", *columns, "created_at", "id"],
            postgresql_where=None if condition is None else sa.text(condition),
        )


def downgrade() -> None:
    for name in _LISTS:
        op.drop_index(f"ix_wallets_application_id_{name}_created_at_id", "wallets")
    op.drop_constraint(_OF_ARCHIVED_KEY, "wallets")
    op.create_foreign_key(_OF_KEY, "wallets", "keys", ["key_id"], ["id"])
    op.drop_column("wallets", "is_archived")
    op.drop_column("wallets", "store")
    op.drop_constraint(_UNIQUE, "keys")
    op.drop_column("keys", "is_archived")
