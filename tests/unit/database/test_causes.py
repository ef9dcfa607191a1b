"""What is decided about a database without one."""

import psycopg
import pytest

from custody.database.causes import is_transient
from custody.database.url import parts_of
from custody.runtime.errors import ConfigurationError


@pytest.mark.parametrize("url", ["sqlite:///x", "mysql://u:hunter2@h/d"])
def test_another_database_is_refused_and_told_what_to_write(url):
    with pytest.raises(ConfigurationError, match="only PostgreSQL") as caught:
        parts_of(url)
    assert caught.value.todo.startswith("Write postgresql://")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "hunter2", "postgresql//u:hunter2@h/d"])
def test_what_is_no_url_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        parts_of(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (psycopg.OperationalError("server closed"), True),
        (psycopg.InterfaceError(), True),
        (ConnectionRefusedError(), True),
        (psycopg.errors.UniqueViolation(), False),
        (ValueError(), False),
    ],
)
def test_a_database_that_is_away_is_told_from_a_wrong_question(error, transient):
    assert is_transient(error) is transient
