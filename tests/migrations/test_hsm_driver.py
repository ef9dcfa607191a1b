"""The hsm_driver tree, from empty, and against the models."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from custody.database.engine import synchronous_engine
from custody.migrations.schema import migrate
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
