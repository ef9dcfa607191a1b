"""``hsm-driver keys`` over rows that somebody has changed by hand."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from uuid import UUID, uuid4

import psycopg
import pytest
from typer.testing import Result

from custody.node.errors import Failed
from hsm_driver.vault import wrapped_key

MARKUP = "[/bold]\x1b[2J"
GOOD = {
    "scheme": "ECDSA",
    "curve": "secp256k1",
    "network": None,
    "public_key": bytes(33),
    "protection": "hsm",
    "wrapped": b"wrapped",
    "master_key": "custody-1",
    "mechanism": "AES_KEY_WRAP_PAD",
    "imported": False,
}


@pytest.fixture
def key_id(driver_database: str) -> UUID:
    """Of a row in which every text is one that we never write."""
    key_id = uuid4()
    with psycopg.connect(driver_database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO wrapped_keys (key_id, scheme, curve, network, public_key, protection,"
            " wrapped, master_key, mechanism)"
            " VALUES (%(id)s, %(x)s, %(x)s, %(x)s, '', %(x)s, '', %(x)s, %(x)s)",
            {"id": key_id, "x": MARKUP},
        )
    return key_id


def test_a_damaged_row_is_shown_as_it_is(run: Callable[..., Result], key_id: UUID):
    for words in (["list"], ["show", key_id]):
        done = run("keys", *words)
        assert done.exit_code == 0, done.output
        assert "[/bold]\\x1b[2J" in done.stdout
        json.loads(run("keys", *words, "--json").stdout)


def test_a_time_that_cannot_be_read_is_an_error_that_says_so(
    run: Callable[..., Result], key_id: UUID, driver_database: str
):
    with psycopg.connect(driver_database, autocommit=True) as connection:
        connection.execute("UPDATE wrapped_keys SET created_at = 'infinity'")
    for words in (["list"], ["show", key_id]):
        done = run("keys", *words)
        assert done.exit_code == 1
        assert isinstance(done.exception, SystemExit)
        assert "has a value that cannot be read" in done.stderr


@pytest.mark.parametrize("column", ["scheme", "curve", "network", "protection"])
def test_a_key_whose_row_is_damaged_signs_nothing_and_says_why(column: str):
    assert wrapped_key(SimpleNamespace(**GOOD)).master_key == "custody-1"
    with pytest.raises(Failed, match="row of the key is damaged") as caught:
        wrapped_key(SimpleNamespace(**GOOD | {column: "rot13"}))
    assert caught.value.code == "key_mismatch"
