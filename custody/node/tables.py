"""The tables that every node's database has."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    func,
)

from custody.database.probe_table import add_probe_table
from custody.database.retention_table import add_retention_table


def now(name: str) -> Column[object]:
    """Return a column for a time; the default is the time of the insertion."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def add_node_tables(metadata: MetaData) -> tuple[Table, Table]:
    """Add journal, audit chain and locks to a mode's tables. Return the first two."""
    journal = Table(
        "journal",
        metadata,
        Column("job_id", Uuid, primary_key=True),
        Column("digest", LargeBinary, nullable=False),  # SHA-256 of the job's signed payload
        Column("node", String, nullable=False),
        Column("status", String, nullable=False),
        Column("outcome", LargeBinary, nullable=False),  # the exact bytes that are reported
        now("committed_at"),
        Column("reported_at", DateTime(timezone=True)),
    )
    Index(
        "ix_journal_unreported",
        journal.c.node,
        postgresql_where=journal.c.reported_at.is_(None),
    )
    Index("ix_journal_committed_at", journal.c.committed_at)

    audit = Table(
        "audit",
        metadata,
        Column("node", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("record", LargeBinary, nullable=False),
        Column("hash", LargeBinary, nullable=False),
    )
    _add_locks(metadata)
    _add_key_statements(metadata)
    _add_archivals(metadata)
    add_probe_table(metadata)
    add_retention_table(metadata)
    return journal, audit


def _add_key_statements(metadata: MetaData) -> None:
    Table(
        "restored_keys",  # adopted although they were not made inside the token
        metadata,
        Column("check_value", LargeBinary, primary_key=True),
        Column("is_extractable", Boolean, nullable=False),
        Column("operator", String, nullable=False),
        Column("reason", String, nullable=False),
        now("adopted_at"),
    )
    Table(
        "key_backups",  # of master keys and encryption keys
        metadata,
        Column("check_value", LargeBinary, primary_key=True),
        Column("made_at", DateTime(timezone=True)),
        Column("code_digest", LargeBinary),  # SHA-256 of the confirmation code in the file
        Column("confirmed_at", DateTime(timezone=True)),
        Column("operator", String),
        Column("place", String),
    )
    Table(
        "key_proofs",  # known bytes under keys of a token: custody/pkcs11/key_proof.py
        metadata,
        Column("value", LargeBinary, primary_key=True),  # names the proof
        Column("key_name", String, nullable=False),
        Column("check_value", LargeBinary, nullable=False),  # of the key
        Column("mechanism", String, nullable=False),
        Column("scheme", String),
        Column("curve", String),
        Column("public_key", LargeBinary, nullable=False),
        Column("wrapped", LargeBinary, nullable=False),
        Column("unwrapped_without", String, nullable=False),
        now("created_at"),
    )


def _add_locks(metadata: MetaData) -> None:
    Table(
        "applications",
        metadata,
        Column("name", String, primary_key=True),
        Column("public_key", LargeBinary, nullable=False, unique=True),  # Ed25519
        now("added_at"),
    )
    signed_requests = Table(
        "signed_requests",
        metadata,
        Column("application_key", LargeBinary, primary_key=True),
        Column("endpoint", String, primary_key=True),
        Column("external_id", String, primary_key=True),
        Column("request_id", Uuid, nullable=False),
        Column("digest", LargeBinary, nullable=False),  # Job.request_digest
        Column("expires_at", DateTime(timezone=True), nullable=False),
        now("seen_at"),
    )
    Index("ix_signed_requests_expires_at", signed_requests.c.expires_at)
    approvals = Table(
        "approvals",
        metadata,
        Column("request_id", Uuid, primary_key=True),
        Column("digest", LargeBinary, primary_key=True),  # Job.request_digest
        Column("node", String, nullable=False),
        Column("decision", String, nullable=False),
        Column("reason", String),
        now("decided_at"),
    )
    Index("ix_approvals_decided_at", approvals.c.decided_at)


def _add_archivals(metadata: MetaData) -> None:
    Table(
        "archivals",  # custody/node/archivals.py; rows are never changed
        metadata,
        Column("root_id", Uuid, primary_key=True),
        Column("path", String, primary_key=True),  # m for the root itself, m/0/5 for a child
        Column("changed_by", String, primary_key=True),  # a request, or an operator on the host
        Column("number", Integer, primary_key=True, autoincrement=False),  # of these changes
        Column("is_archived", Boolean, nullable=False),
        Column("request_id", Uuid),
        Column("operator", String),
        Column("reason", String),
        now("changed_at"),
    )
