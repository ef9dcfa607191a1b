"""The tables of every node's database; the migration trees of both modes create them.

Do not change a function that a revision calls: a later revision gets a new function.
"""

import sqlalchemy as sa
from alembic import op

from custody.runtime.errors import OperatorError


def now(name: str) -> sa.Column[object]:
    """Return a column for a time; the default is the time of the insertion."""
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def create_journal_and_audit() -> None:
    op.create_table(
        "journal",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("outcome", sa.LargeBinary(), nullable=False),
        now("committed_at"),
        sa.Column("reported_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("job_id", name="pk_journal"),
    )
    op.create_index(
        "ix_journal_unreported",
        "journal",
        ["node"],
        postgresql_where=sa.text("reported_at IS NULL"),
    )
    op.create_index("ix_journal_committed_at", "journal", ["committed_at"])
    op.create_table(
        "audit",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("node", "sequence", name="pk_audit"),
    )


def create_locks() -> None:
    """Create the tables of pinned applications, their signed requests, and the gate's decisions."""
    op.create_table(
        "applications",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        now("added_at"),
        sa.PrimaryKeyConstraint("name", name="pk_applications"),
        sa.UniqueConstraint("public_key", name="uq_applications_public_key"),
    )
    op.create_table(
        "signed_requests",
        sa.Column("application_key", sa.LargeBinary(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        now("seen_at"),
        sa.PrimaryKeyConstraint(
            "application_key", "endpoint", "external_id", name="pk_signed_requests"
        ),
    )
    op.create_index("ix_signed_requests_expires_at", "signed_requests", ["expires_at"])
    op.create_table(
        "approvals",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        now("decided_at"),
        sa.PrimaryKeyConstraint("request_id", "digest", name="pk_approvals"),
    )
    op.create_index("ix_approvals_decided_at", "approvals", ["decided_at"])


def create_database_probe() -> None:
    """Create the table of the health probe: a write into it shows whether writes work."""
    op.create_table(
        "database_probe",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("filler", sa.LargeBinary()),
        now("written_at"),
        sa.PrimaryKeyConstraint("id", name="pk_database_probe"),
    )


def create_key_statements() -> None:
    """Create the tables of restored keys and of key backups that operators have confirmed."""
    op.create_table(
        "restored_keys",
        sa.Column("check_value", sa.LargeBinary(), nullable=False),
        sa.Column("is_extractable", sa.Boolean(), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        now("adopted_at"),
        sa.PrimaryKeyConstraint("check_value", name="pk_restored_keys"),
    )
    op.create_table(
        "key_backups",
        sa.Column("check_value", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True)),
        sa.Column("code_digest", sa.LargeBinary()),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
        sa.Column("operator", sa.String()),
        sa.Column("place", sa.String()),
        sa.PrimaryKeyConstraint("check_value", name="pk_key_backups"),
    )


def create_key_proofs() -> None:
    """Create the table of proofs by which a node tells its keys on a token from others."""
    op.create_table(
        "key_proofs",
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("key_name", sa.String(), nullable=False),
        sa.Column("check_value", sa.LargeBinary(), nullable=False),
        sa.Column("mechanism", sa.String(), nullable=False),
        sa.Column("scheme", sa.String()),
        sa.Column("curve", sa.String()),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("unwrapped_without", sa.String(), nullable=False),
        now("created_at"),
        sa.PrimaryKeyConstraint("value", name="pk_key_proofs"),
    )


def create_retention() -> None:
    """Create the table of the retention setting; the control plane's tree has it too."""
    op.create_table(
        "retention",
        now("changed_at"),
        sa.Column("days", sa.Integer()),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("changed_at", name="pk_retention"),
    )


def create_archivals() -> None:
    """Create the table of keys that were archived, and un-archived: a row for each change."""
    op.create_table(
        "archivals",
        sa.Column("root_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("is_archived", sa.Boolean(), nullable=False),
        sa.Column("request_id", sa.Uuid()),
        sa.Column("operator", sa.String()),
        sa.Column("reason", sa.String()),
        now("changed_at"),
        sa.PrimaryKeyConstraint("root_id", "path", "changed_by", "number", name="pk_archivals"),
    )


def drop_archivals() -> None:
    """Drop the table. Raise OperatorError if it has rows: archived keys would sign again."""
    changes = op.get_bind().scalar(sa.text("SELECT count(*) FROM archivals"))
    if changes:
        raise OperatorError(
            f"keys were archived or un-archived here {changes} times, and would all sign again",
            "Keep this version: an older one cannot stop an archived key.",
        )
    op.drop_table("archivals")
