"""Peers, encryption keys, shares, bans, and the tables of every node."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from custody.migrations.node_tables import create_journal_and_audit, create_locks, now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_journal_and_audit()
    create_locks()
    _peers()
    _shares()
    _ceremonies()
    _bans()


def _peers() -> None:
    op.create_table(
        "peers",
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("identity_public_key", sa.LargeBinary(), nullable=False),
        now("added_at"),
        sa.PrimaryKeyConstraint("signer", name="pk_peers"),
        sa.UniqueConstraint("identity_public_key", name="uq_peers_identity_public_key"),
    )


def _shares() -> None:
    op.create_table(
        "encryption_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("check_value", sa.LargeBinary(), nullable=False),
        now("first_seen"),
        sa.PrimaryKeyConstraint("id", name="pk_encryption_keys"),
    )
    op.create_table(
        "shares",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("ceremony", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer()),
        sa.Column("protocol", sa.String()),
        sa.Column("group_name", sa.String()),
        sa.Column("threshold", sa.Integer()),
        sa.Column("signers", postgresql.ARRAY(sa.String())),
        sa.Column("share_index", sa.Integer()),
        sa.Column("network", sa.String()),
        sa.Column("public_key", sa.LargeBinary()),
        sa.Column("chain_code", sa.LargeBinary()),
        sa.Column("transcript", sa.LargeBinary()),
        sa.Column(
            "proved_with", postgresql.ARRAY(sa.String()), nullable=False, server_default="{}"
        ),
        sa.Column(
            "proved",
            sa.Boolean(),
            sa.Computed(
                "CASE protocol WHEN 'dkls23-secp256k1'"
                " THEN signers <@ (proved_with || signers[share_index])"
                " ELSE cardinality(proved_with) > 0 END",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column("data_key", sa.LargeBinary()),
        sa.Column("ciphertext", sa.LargeBinary()),
        sa.Column("encryption_key", sa.String()),
        now("created_at"),
        now("changed_at"),
        sa.PrimaryKeyConstraint("key_id", "ceremony", name="pk_shares"),
        sa.ForeignKeyConstraint(
            ["encryption_key"],
            ["encryption_keys.id"],
            name="fk_shares_encryption_key_encryption_keys",
        ),
        sa.CheckConstraint(
            "state IN ('confirmed', 'active', 'repaired', 'retired', 'discarded', 'abandoned')",
            name="ck_shares_state",
        ),
        sa.CheckConstraint(
            "num_nonnulls(data_key, ciphertext, encryption_key)"
            " = CASE WHEN state IN ('confirmed', 'active', 'repaired') THEN 3 ELSE 0 END",
            name="ck_shares_erased",
        ),
        sa.CheckConstraint(
            "state = 'abandoned' OR num_nonnulls(generation, protocol, group_name,"
            " threshold, signers, share_index, public_key, transcript) = 8",
            name="ck_shares_facts",
        ),
    )
    op.create_index(
        "uq_shares_in_use",
        "shares",
        ["key_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('active', 'repaired')"),
    )
    op.create_index(
        "uq_shares_confirmed",
        "shares",
        ["key_id"],
        unique=True,
        postgresql_where=sa.text("state = 'confirmed'"),
    )
    op.create_index("ix_shares_encryption_key", "shares", ["encryption_key"])


def _ceremonies() -> None:
    op.create_table(
        "used_tickets",
        sa.Column("ceremony", sa.Uuid(), nullable=False),
        now("used_at"),
        sa.PrimaryKeyConstraint("ceremony", name="pk_used_tickets"),
    )
    op.create_index("ix_used_tickets_used_at", "used_tickets", ["used_at"])
    op.create_table(
        "repair_approvals",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        now("approved_at"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "signer", name="pk_repair_approvals"),
    )


def _bans() -> None:
    op.create_table(
        "in_flight",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("ceremony", sa.Uuid(), nullable=False),
        now("begun_at"),
        sa.PrimaryKeyConstraint("key_id", "signer", name="pk_in_flight"),
    )
    op.create_table(
        "cleared",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("ceremony", sa.Uuid(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        now("cleared_at"),
        sa.PrimaryKeyConstraint("key_id", "signer", "ceremony", name="pk_cleared"),
    )
    op.create_table(
        "bans",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("banned", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key_id", sa.String(), nullable=False),
        now("learned_at"),
        sa.PrimaryKeyConstraint("key_id", "signer", "banned", name="pk_bans"),
    )
