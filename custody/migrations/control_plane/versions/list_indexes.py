"""Indexes for the filters of lists: a list among millions takes no longer than a short one."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_ORDER = ["created_at", "id"]
_KEY_FILTERS = ("network", "store", "scheme", "curve")
_OF_JOBS = {
    "ix_jobs_failed_signatures": ("key_id", "kind = 'Sign' AND state IN ('Denied', 'Failed')"),
    "ix_jobs_failed_keys": (
        "application_id",
        "kind = 'GenerateKey' AND state IN ('Denied', 'Failed')",
    ),
}


def upgrade() -> None:
    for name in _KEY_FILTERS:
        op.create_index(
            f"ix_keys_application_id_{name}_created_at_id",
            "keys",
            ["application_id", name, *_ORDER],
        )
    op.create_index(
        "ix_wallets_application_id_network_created_at_id",
        "wallets",
        ["application_id", "network", *_ORDER],
    )
    op.create_index("ix_wallets_application_id_address", "wallets", ["application_id", "address"])
    for name, (column, condition) in _OF_JOBS.items():
        op.create_index(name, "jobs", [column, *_ORDER], postgresql_where=sa.text(condition))
    # it finds the few changes of a key beside any number of its signatures
    op.create_index("ix_jobs_key_id_kind_created_at_id", "jobs", ["key_id", "kind", *_ORDER])
    op.drop_index("ix_jobs_key_id_created_at_id", "jobs")


def downgrade() -> None:
    op.create_index("ix_jobs_key_id_created_at_id", "jobs", ["key_id", *_ORDER])
    op.drop_index("ix_jobs_key_id_kind_created_at_id", "jobs")
    for name in _OF_JOBS:
        op.drop_index(name, "jobs")
    op.drop_index("ix_wallets_application_id_address", "wallets")
    op.drop_index("ix_wallets_application_id_network_created_at_id", "wallets")
    for name in _KEY_FILTERS:
        op.drop_index(f"ix_keys_application_id_{name}_created_at_id", "keys")
