"""Names, tags and holders of wallets and keys, and several wallets of one key."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_TAGGED = (("wallet_tags", "wallet_id", "wallets"), ("key_tags", "key_id", "keys"))
_LISTED = ("wallets", "keys")
_HOLDERS = (("signer_group", "signer_group IS NOT NULL"), ("node_group", "signer_group IS NULL"))

_FILL_WALLETS = """
    UPDATE wallets SET node_group = keys.node_group, signer_group = keys.signer_group
    FROM keys WHERE keys.id = wallets.key_id
"""


def upgrade() -> None:
    op.add_column("wallets", sa.Column("node_group", sa.String()))
    op.add_column("wallets", sa.Column("signer_group", sa.String()))
    op.execute(_FILL_WALLETS)
    op.alter_column("wallets", "node_group", nullable=False)
    for table in _LISTED:
        op.add_column(table, sa.Column("name", sa.String()))
        _add_index(table, "name", "name IS NOT NULL")
        for column, condition in _HOLDERS:
            _add_index(table, column, condition)
    for tags, subject, table in _TAGGED:
        op.create_table(
            tags,
            sa.Column(subject, sa.Uuid(), nullable=False),
            sa.Column("tag", sa.String(), nullable=False),
            sa.Column("application_id", sa.Uuid(), nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            sa.PrimaryKeyConstraint(subject, "tag", name=f"pk_{tags}"),
            sa.ForeignKeyConstraint(
                [subject], [f"{table}.id"], name=f"fk_{tags}_{subject}_{table}"
            ),
        )
        op.create_index(
            f"ix_{tags}_application_id_tag_created_at_{subject}",
            tags,
            ["application_id", "tag", "created_at", subject],
        )
    op.drop_constraint("uq_wallets_key_id", "wallets")
    op.create_unique_constraint("uq_wallets_key_id_network", "wallets", ["key_id", "network"])


def downgrade() -> None:
    op.drop_constraint("uq_wallets_key_id_network", "wallets")
    op.create_unique_constraint("uq_wallets_key_id", "wallets", ["key_id"])
    for tags, _, _ in _TAGGED:
        op.drop_table(tags)
    for table in _LISTED:
        for column, _ in _HOLDERS:
            op.drop_index(f"ix_{table}_application_id_{column}_created_at_id", table)
        op.drop_index(f"ix_{table}_application_id_name_created_at_id", table)
        op.drop_column(table, "name")
    op.drop_column("wallets", "signer_group")
    op.drop_column("wallets", "node_group")


def _add_index(table: str, column: str, condition: str) -> None:
    op.create_index(
        f"ix_{table}_application_id_{column}_created_at_id",
        table,
        ["application_id", column, "created_at", "id"],
        postgresql_where=sa.text(condition),
    )
