"""The tables of a driver group's database."""

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

from daemon.database import NAMES

metadata = MetaData(naming_convention=NAMES)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


master_keys = Table(
    "master_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("check_value", LargeBinary, nullable=False),
    _now("first_seen"),
)

wrapped_keys = Table(
    "wrapped_keys",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("scheme", String, nullable=False),
    Column("curve", String, nullable=False),
    Column("network", String),
    Column("public_key", LargeBinary, nullable=False),
    Column("protection", String, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("master_key", String, nullable=False),
    Column("mechanism", String, nullable=False),
    _now("created_at"),
)

journal = Table(
    "journal",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the job's signed payload
    Column("node", String, nullable=False),
    Column("status", String, nullable=False),
    Column("outcome", LargeBinary, nullable=False),  # the exact bytes that are reported
    _now("committed_at"),
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
