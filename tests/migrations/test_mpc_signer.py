"""The mpc_signer tree, from empty, and against the models."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from custody.database.engine import synchronous_engine
from custody.migrations.schema import alembic_config, migrate
from custody.runtime.errors import OperatorError
from mpc.tables import metadata


def test_from_empty_to_what_the_models_say(empty_database: str) -> None:
    migrate("mpc_signer", empty_database)
    engine = synchronous_engine(empty_database)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_set_that_waits_is_not_carried_over_to_where_it_would_be_abandoned(
    empty_database: str,
) -> None:
    """The version before takes it into use without promises, and others may have done so."""
    migrate("mpc_signer", empty_database, "0001")
    engine = synchronous_engine(empty_database)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO encryption_keys (id, check_value) VALUES ('k', '')"))
        connection.execute(
            text(
                "INSERT INTO shares (key_id, ceremony, state, generation, protocol, group_name,"
                " threshold, signers, share_index, public_key, transcript, data_key, ciphertext,"
                " encryption_key) VALUES (gen_random_uuid(), gen_random_uuid(), 'confirmed', 0,"
                " 'frost-ed25519', 'g', 2, '{a,b}', 1, '', '', '', '', 'k')"
            )
        )
    with pytest.raises(OperatorError, match="1 sets of shares are confirmed"):
        migrate("mpc_signer", empty_database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE shares SET state = 'active', proved_with = '{b}'"))
    migrate("mpc_signer", empty_database)
    engine.dispose()


def test_migrating_again_changes_nothing(signer_database: str) -> None:
    migrate("mpc_signer", signer_database)


@pytest.mark.parametrize(
    "restored",
    [
        "INSERT INTO restore_watch (id, mark, nonce) VALUES (1, gen_random_uuid(), '\\x01')",
        "INSERT INTO shares (key_id, ceremony, state, uncertain)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'abandoned', true)",
    ],
)
def test_a_signer_that_waits_after_a_restore_stays_on_this_version(
    signer_database: str, restored: str
) -> None:
    """An earlier version would take jobs, and would use an uncertain share."""
    engine = synchronous_engine(signer_database)
    with engine.begin() as connection:
        connection.execute(text(restored))
    with pytest.raises(OperatorError, match="not all of its peers have answered"):
        command.downgrade(alembic_config("mpc_signer", signer_database), "0007")
    engine.dispose()
