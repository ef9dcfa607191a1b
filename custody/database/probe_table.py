"""The table of the health probe (custody/database/health.py), in every database."""

from sqlalchemy import Column, DateTime, Integer, LargeBinary, MetaData, Table, func


def add_probe_table(metadata: MetaData) -> None:
    Table(
        "database_probe",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("filler", LargeBinary),
        Column("written_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )
