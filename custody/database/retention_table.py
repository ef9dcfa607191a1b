"""The table of the retention setting (custody/database/retention.py), in every database."""

from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, func


def add_retention_table(metadata: MetaData, name: str = "retention") -> None:
    Table(
        name,
        metadata,
        Column("changed_at", DateTime(timezone=True), primary_key=True, server_default=func.now()),
        Column("days", Integer),  # null: keep permanently
        Column("operator", String, nullable=False),
        Column("reason", String, nullable=False),
    )
