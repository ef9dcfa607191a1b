"""The tables that every node's database has."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    func,
)


def now(name: str) -> Column[object]:
    """A column for a time, by default that of the insertion."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def add_node_tables(metadata: MetaData) -> tuple[Table, Table]:
    """Journal and audit chain, to the tables of a mode."""
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
    return journal, audit
