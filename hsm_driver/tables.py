"""The tables of a driver group's database."""

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, String, Table, Uuid

from custody.database.engine import NAMES
from custody.node.tables import add_node_tables, now

metadata = MetaData(naming_convention=NAMES)
journal, audit = add_node_tables(metadata)

master_keys = Table(
    "master_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("check_value", LargeBinary, nullable=False),
    now("first_seen"),
    Column("retired_at", DateTime(timezone=True)),
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
    now("created_at"),
)
