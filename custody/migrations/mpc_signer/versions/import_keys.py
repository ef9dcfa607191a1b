"""One-time import keys, encrypted as shares are."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "import_keys",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Uuid()),
        sa.Column("data_key", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("encryption_key", sa.String(), nullable=False),
        sa.Column("created_at", time, nullable=False, server_default=sa.text("now()")),
        sa.Column("expires_at", time, nullable=False),
        sa.PrimaryKeyConstraint("import_id", name="pk_import_keys"),
        sa.ForeignKeyConstraint(
            ["encryption_key"],
            ["encryption_keys.id"],
            name="fk_import_keys_encryption_key_encryption_keys",
        ),
    )
    op.create_index("ix_import_keys_expires_at", "import_keys", ["expires_at"])
    op.create_index("ix_import_keys_key_id", "import_keys", ["key_id"])


def downgrade() -> None:
    """Erase the import keys: an import that is under way must be asked for again."""
    op.drop_table("import_keys")
