"""Applications and their tokens, nodes, keys, wallets, jobs, audit heads."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _applications_and_tokens()
    _nodes_and_audit_heads()
    _keys_and_wallets()
    _jobs()


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def _applications_and_tokens() -> None:
    op.create_table(
        "applications",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_applications"),
        sa.UniqueConstraint("name", name="uq_applications_name"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.String()), nullable=False),
        _now("created_at"),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name="fk_tokens_application_id_applications"
        ),
    )


def _nodes_and_audit_heads() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("node_group", sa.String(), nullable=False),
        sa.Column("version", sa.String()),
        sa.Column(
            "capabilities",
            postgresql.JSONB(),
            nullable=False,
            server_default=sa.text("'{}'::jsonb"),
        ),
        sa.Column("health", postgresql.JSONB()),
        sa.Column("identity_public_key", sa.LargeBinary()),
        sa.Column("audit_alarm", sa.String()),
        _now("created_at"),
        sa.Column("last_seen", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
    )
    op.create_index("ix_nodes_node_group", "nodes", ["node_group"])
    op.create_table(
        "audit_heads",
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key_id", sa.String(), nullable=False),
        _now("received_at"),
        sa.PrimaryKeyConstraint("node_id", "sequence", name="pk_audit_heads"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_audit_heads_node_id_nodes"),
    )


def _keys_and_wallets() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("node_group", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("scheme", sa.String(), nullable=False),
        sa.Column("curve", sa.String(), nullable=False),
        sa.Column("network", sa.String()),
        sa.Column("public_key", sa.LargeBinary()),
        sa.Column("protection", sa.String()),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name="fk_keys_application_id_applications"
        ),
    )
    op.create_index(
        "ix_keys_application_id_created_at_id", "keys", ["application_id", "created_at", "id"]
    )
    op.create_table(
        "wallets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.String()),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_wallets"),
        sa.UniqueConstraint("key_id", name="uq_wallets_key_id"),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name="fk_wallets_application_id_applications"
        ),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_wallets_key_id_keys"),
    )
    op.create_index(
        "ix_wallets_application_id_created_at_id",
        "wallets",
        ["application_id", "created_at", "id"],
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("node_group", sa.String(), nullable=False),
        sa.Column("external_id", sa.String()),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default=sa.text("0")),
        _now("run_after"),
        sa.Column("lease", sa.Uuid()),
        sa.Column("lease_node", sa.String()),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column(
            "refused_by",
            sa.ARRAY(sa.String()),
            nullable=False,
            server_default=sa.text("'{}'::varchar[]"),
        ),
        sa.Column("last_failure", sa.LargeBinary()),
        sa.Column("outcome", sa.LargeBinary()),
        sa.Column("late_outcome", sa.LargeBinary()),
        _now("created_at"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint(
            "application_id",
            "endpoint",
            "external_id",
            name="uq_jobs_application_id_endpoint_external_id",
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name="fk_jobs_application_id_applications"
        ),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_jobs_key_id_keys"),
    )
    _index_jobs("ix_jobs_claimable", ["node_group", "run_after"], "state = 'Queued'")
    _index_jobs("ix_jobs_leased", ["lease_until"], "state = 'Leased'")
    _index_jobs("ix_jobs_unfinished", ["expires_at"], "finished_at IS NULL")
    _index_jobs("ix_jobs_key_id_created_at_id", ["key_id", "created_at", "id"], None)


def _index_jobs(name: str, columns: list[str], where: str | None) -> None:
    op.create_index(
        name, "jobs", columns, postgresql_where=None if where is None else sa.text(where)
    )


def downgrade() -> None:
    for table in ("jobs", "wallets", "keys", "audit_heads", "nodes", "tokens", "applications"):
        op.drop_table(table)
