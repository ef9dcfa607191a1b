"""The hsm_driver tree, from empty, and against the models."""

from uuid import UUID

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from custody.database.engine import synchronous_engine
from custody.migrations.schema import migrate
from hsm_driver.backup import KNOWN_KEYS
from hsm_driver.tables import metadata


def test_from_empty_to_what_the_models_say(empty_database: str) -> None:
    migrate("hsm_driver", empty_database)
    engine = synchronous_engine(empty_database)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing(driver_database: str) -> None:
    migrate("hsm_driver", driver_database)


def test_each_database_gets_an_id_of_its_own_and_keeps_it(
    empty_database: str, driver_database: str
):
    migrate("hsm_driver", empty_database)
    [first], [second] = ids_in(empty_database), ids_in(driver_database)
    assert first != second
    migrate("hsm_driver", empty_database)
    assert ids_in(empty_database) == [first]


def ids_in(url: str) -> list[UUID]:
    engine = synchronous_engine(url)
    with engine.connect() as connection:
        ids: list[UUID] = [row.id for row in connection.execute(text("SELECT id FROM database_id"))]
    engine.dispose()
    return ids


def test_a_backup_names_the_master_keys_that_are_needed_before_and_after_retirement_came(
    empty_database: str,
):
    """A backup of the older schema is compared with its manifest before it is migrated."""
    migrate("hsm_driver", empty_database, "0004")
    engine = synchronous_engine(empty_database)
    insert = (
        "INSERT INTO master_keys (id, check_value) VALUES ('custody/1', 'a'), ('custody/2', 'b')"
    )
    with engine.begin() as connection:
        connection.execute(text(insert))
        assert [row.id for row in connection.execute(text(KNOWN_KEYS))] == [
            "custody/1",
            "custody/2",
        ]
    migrate("hsm_driver", empty_database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE master_keys SET retired_at = now() WHERE id = 'custody/2'"))
        assert [row.id for row in connection.execute(text(KNOWN_KEYS))] == ["custody/1"]
    engine.dispose()
