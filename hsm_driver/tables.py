"""The tables of a driver group's database."""

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    false,
)

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
    Column("imported", Boolean, nullable=False, server_default=false()),
    now("created_at"),
)

database_id = Table(  # one row, made with the table
    "database_id",
    metadata,
    Column("id", Uuid, primary_key=True),
)

import_keys = Table(  # one-time keys on tokens, to which applications encrypt private keys
    "import_keys",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("application", LargeBinary),  # the public key that signed the request
    Column("scheme", String, nullable=False),
    Column("curve", String, nullable=False),
    # from here on of the key, once it is made
    Column("protection", String),
    Column("wrapping", String),
    Column("token", String),
    Column("import_key", LargeBinary),
    # the only key and request that may use it
    Column("used_by", Uuid),
    Column("request", LargeBinary),
    Column("finished_at", DateTime(timezone=True)),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    now("created_at"),
)
