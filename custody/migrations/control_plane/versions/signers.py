"""Signer groups, the steps and tasks of requests that signers do, bans; attestations of keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NO_STRINGS = sa.text("'{}'::varchar[]")
_NODES = ("owner", "slots", "has_gate", "silent_since")
_KEYS = (
    "attestations",
    "signer_group",
    "root_id",
    "path",
    "chain_code",
    "generation",
    "shares",
    "next_shares",
    "next_users",
)


def upgrade() -> None:
    _signer_groups()
    _add_to_nodes_and_jobs()
    _add_to_keys()
    _steps()
    _tasks()
    _bans()


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def _flag(name: str, default: bool = False) -> sa.Column[object]:
    server_default = sa.true() if default else sa.false()
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=server_default)


def _names(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.ARRAY(sa.String()), nullable=False, server_default=_NO_STRINGS)


def _signer_groups() -> None:
    op.create_table(
        "signer_groups",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("name", name="pk_signer_groups"),
    )
    op.create_table(
        "signer_group_members",
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("share_index", sa.Integer(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("group_name", "share_index", name="pk_signer_group_members"),
        sa.UniqueConstraint(
            "group_name", "signer", name="uq_signer_group_members_group_name_signer"
        ),
        sa.ForeignKeyConstraint(
            ["group_name"],
            ["signer_groups.name"],
            name="fk_signer_group_members_group_name_signer_groups",
        ),
    )


def _add_to_nodes_and_jobs() -> None:
    op.add_column("nodes", sa.Column("owner", sa.String()))
    op.add_column(
        "nodes", sa.Column("slots", sa.Integer(), nullable=False, server_default=sa.text("1"))
    )
    op.add_column("nodes", _flag("has_gate"))
    op.add_column("nodes", sa.Column("silent_since", sa.DateTime(timezone=True)))
    op.add_column("jobs", _flag("must_finish"))


def _add_to_keys() -> None:
    op.add_column(
        "keys",
        sa.Column(
            "attestations",
            postgresql.JSONB(),
            nullable=False,
            server_default=sa.text("'[]'::jsonb"),
        ),
    )
    op.add_column("keys", sa.Column("signer_group", sa.String()))
    op.add_column("keys", sa.Column("root_id", sa.Uuid()))
    op.add_column("keys", sa.Column("path", sa.ARRAY(sa.BigInteger())))
    op.add_column("keys", sa.Column("chain_code", sa.LargeBinary()))
    op.add_column("keys", sa.Column("generation", sa.Integer()))
    op.add_column("keys", sa.Column("shares", sa.Uuid()))
    op.add_column("keys", sa.Column("next_shares", sa.Uuid()))
    op.add_column("keys", _names("next_users"))
    op.create_foreign_key(
        "fk_keys_signer_group_signer_groups", "keys", "signer_groups", ["signer_group"], ["name"]
    )
    op.create_foreign_key("fk_keys_root_id_keys", "keys", "keys", ["root_id"], ["id"])


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("shares", sa.Uuid()),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("signature", sa.LargeBinary()),
        sa.Column("signing_key_id", sa.String()),
        sa.Column("ticket", sa.LargeBinary()),
        sa.Column("ticket_signature", sa.LargeBinary()),
        sa.Column("ticket_key_id", sa.String()),
        _now("created_at"),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ending", sa.String()),
        _names("culprits"),
        _flag("is_unsettled"),
        sa.PrimaryKeyConstraint("id", name="pk_steps"),
        sa.UniqueConstraint("request_id", "number", name="uq_steps_request_id_number"),
        sa.ForeignKeyConstraint(["request_id"], ["jobs.id"], name="fk_steps_request_id_jobs"),
    )
    op.create_index(
        "ix_steps_open", "steps", ["deadline"], postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index(
        "ix_steps_unsettled", "steps", ["request_id"], postgresql_where=sa.text("is_unsettled")
    )
    op.create_index("ix_steps_job_id", "steps", ["job_id"])


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("step_id", sa.Uuid(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        _flag("is_open", default=True),
        sa.Column("lease", sa.Uuid()),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.LargeBinary()),
        sa.Column("reported_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("step_id", "signer", name="pk_tasks"),
        sa.ForeignKeyConstraint(["step_id"], ["steps.id"], name="fk_tasks_step_id_steps"),
    )
    op.create_index("ix_tasks_open", "tasks", ["signer"], postgresql_where=sa.text("is_open"))


def _bans() -> None:
    op.create_table(
        "bans",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("banned", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key_id", sa.String(), nullable=False),
        _now("received_at"),
        sa.PrimaryKeyConstraint("key_id", "signer", "banned", name="pk_bans"),
    )


def downgrade() -> None:
    for table in ("bans", "tasks", "steps"):
        op.drop_table(table)
    for column in reversed(_KEYS):
        op.drop_column("keys", column)
    op.drop_column("jobs", "must_finish")
    for column in reversed(_NODES):
        op.drop_column("nodes", column)
    op.drop_table("signer_group_members")
    op.drop_table("signer_groups")
