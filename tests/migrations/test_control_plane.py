"""The control_plane tree, from empty, and against the models."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

from custody.control_plane.tables import metadata
from custody.database.engine import synchronous_engine
from custody.migrations.schema import alembic_config, migrate
from custody.runtime.errors import OperatorError


def test_from_empty_to_what_the_models_say(empty_database: str) -> None:
    migrate("control_plane", empty_database)
    engine = synchronous_engine(empty_database)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_every_index_is_the_models_own(empty_database: str) -> None:
    """What compare_metadata does not look at: the conditions of partial indexes."""
    migrate("control_plane", empty_database)
    engine = synchronous_engine(empty_database)
    with engine.begin() as connection:
        migrated = _indexes(connection)
        for table in reversed(metadata.sorted_tables):
            table.drop(connection)
        metadata.create_all(connection)
        assert _indexes(connection) == migrated
    engine.dispose()


def test_migrating_again_changes_nothing(control_plane_database: str) -> None:
    migrate("control_plane", control_plane_database)


def test_two_migrations_at_once_end_in_the_same_place(empty_database: str) -> None:
    engine = synchronous_engine(empty_database)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: _migrate_in_a_process(empty_database), range(3)))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_down_again_leaves_nothing(control_plane_database: str) -> None:
    command.downgrade(alembic_config("control_plane", control_plane_database), "base")
    engine = synchronous_engine(control_plane_database)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_heads_and_alarms_of_the_version_before_are_carried_over(empty_database: str) -> None:
    migrate("control_plane", empty_database, "0005")
    engine = synchronous_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO nodes (id, node_group, audit_alarm) VALUES ('a', 'hsm', NULL),"
            " ('b', 'hsm', 'the audit chain ends at record 4, but record 9 had been reported'),"
            " ('c', 'hsm', 'an audit head is not signed by the node''s identity key')"
        )
        connection.exec_driver_sql(
            "INSERT INTO audit_heads (node_id, sequence, payload, signature, signing_key_id)"
            " VALUES ('a', 1,"
            " convert_to(format('{\"hash\": \"0x%%s\"}', repeat('ab', 32)), 'UTF8'), '', '')"
        )
    migrate("control_plane", empty_database)
    with engine.connect() as connection:
        heads = connection.exec_driver_sql("SELECT hash, set_aside_by FROM audit_heads").all()
        assert [(bytes(row.hash), row.set_aside_by) for row in heads] == [(b"\xab" * 32, None)]
        gaps = connection.exec_driver_sql("SELECT audit_alarm_is_gap FROM nodes ORDER BY id")
        assert [row[0] for row in gaps] == [True, True, False]
    engine.dispose()


def test_wallets_of_the_version_before_keep_their_keys_holders(empty_database: str) -> None:
    migrate("control_plane", empty_database, "0022")
    engine = synchronous_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO applications (id, name) VALUES (gen_random_uuid(), 'shop');"
            "INSERT INTO signer_groups (name, threshold) VALUES ('treasury', 2);"
            "INSERT INTO keys (id, application_id, node_group, store, scheme, curve, network,"
            " signer_group) SELECT gen_random_uuid(), id, node_group, '', '', '', 'Bitcoin', held"
            " FROM applications, (VALUES ('hsm', NULL), ('mpc', 'treasury'))"
            " AS holders (node_group, held);"
            "INSERT INTO wallets (id, application_id, network, key_id)"
            " SELECT gen_random_uuid(), application_id, network, id FROM keys"
        )
    migrate("control_plane", empty_database)
    with engine.begin() as connection:
        held = connection.exec_driver_sql(
            "SELECT node_group, signer_group, name FROM wallets ORDER BY node_group"
        ).all()
        assert [tuple(row) for row in held] == [("hsm", None, None), ("mpc", "treasury", None)]
    command.downgrade(alembic_config("control_plane", empty_database), "0022")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM wallets").scalar() == 2
    engine.dispose()


def test_wallets_of_the_version_before_are_archived_as_their_keys(empty_database: str) -> None:
    migrate("control_plane", empty_database, "0027")
    engine = synchronous_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO applications (id, name) VALUES (gen_random_uuid(), 'shop');"
            "INSERT INTO keys (id, application_id, node_group, store, scheme, curve, network,"
            " archived_at) SELECT gen_random_uuid(), id, 'hsm', store, '', '', '', at"
            " FROM applications, (VALUES ('hsm', NULL), ('mpc', now())) AS facts (store, at);"
            "INSERT INTO wallets (id, application_id, network, key_id, node_group)"
            " SELECT gen_random_uuid(), application_id, networks.network, keys.id, node_group"
            " FROM keys, (VALUES ('Ethereum'), ('EthereumSepolia')) AS networks (network)"
        )
    migrate("control_plane", empty_database)
    facts = "SELECT store, is_archived FROM wallets ORDER BY store"
    with engine.begin() as connection:
        filled = [tuple(row) for row in connection.exec_driver_sql(facts)]
        assert filled == [("hsm", False)] * 2 + [("mpc", True)] * 2
        connection.exec_driver_sql("UPDATE keys SET archived_at = NULL")
        assert {row.is_archived for row in connection.exec_driver_sql(facts)} == {False}
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.exec_driver_sql("UPDATE wallets SET is_archived = true")
        connection.exec_driver_sql("UPDATE keys SET archived_at = now() WHERE store = 'hsm'")
    command.downgrade(alembic_config("control_plane", empty_database), "0027")
    with engine.begin() as connection:
        kept = (
            "SELECT count(*) FROM wallets JOIN keys ON keys.id = key_id WHERE archived_at <= now()"
        )
        assert connection.exec_driver_sql(kept).scalar() == 2
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.exec_driver_sql("UPDATE wallets SET key_id = gen_random_uuid()")
    engine.dispose()


def test_a_copy_of_a_lost_key_keeps_the_version_that_can_have_it(empty_database: str) -> None:
    migrate("control_plane", empty_database)
    engine = synchronous_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO applications (id, name) VALUES (gen_random_uuid(), 'shop');"
            "INSERT INTO keys (id, application_id, node_group, store, scheme, curve, copied_from)"
            " SELECT gen_random_uuid(), id, 'mpc', '', '', '', gen_random_uuid() FROM applications"
        )
    with pytest.raises(OperatorError, match="1 keys are copies of keys"):
        command.downgrade(alembic_config("control_plane", empty_database), "0025")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE keys SET copied_from = id")
    command.downgrade(alembic_config("control_plane", empty_database), "0025")
    engine.dispose()


def _indexes(connection) -> set[tuple[str, str]]:
    rows = connection.exec_driver_sql(
        "SELECT indexname, indexdef FROM pg_indexes "
        "WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    return {(row.indexname, row.indexdef) for row in rows}


def _migrate_in_a_process(url: str) -> None:
    program = "import custody.migrations.schema as s, sys; s.migrate('control_plane', sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, url], check=True, capture_output=True)
