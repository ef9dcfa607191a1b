"""An outage of a database: said once, and over when a write has shown that it is."""

import psycopg
import pytest
from psycopg import errors
from structlog.testing import capture_logs

from custody.database.causes import cause_of, is_transient
from custody.database.health import QUIET_SECONDS, REMINDER_SECONDS, Outage


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage(clock)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.DiskFull("could not extend file"), "disk of the database server is full"),
        (errors.ReadOnlySqlTransaction("cannot execute INSERT"), "takes no writes"),
        (errors.OutOfMemory(), "out of memory"),
        (errors.TooManyConnections(), "no more connections"),
        (errors.IoError(), "cannot read or write its disk"),
        (errors.QueryCanceled(), "take too long"),
        (errors.AdminShutdown(), "does not answer"),
        (psycopg.OperationalError("connection refused"), "does not answer"),
        (ConnectionRefusedError(), "does not answer"),
    ],
)
def test_a_database_that_cannot_be_used_now_says_why_and_what_helps(error, words):
    assert is_transient(error)
    cause = cause_of(error)
    assert words in cause.what
    assert cause.todo


def test_an_outage_is_said_once_then_now_and_then_and_its_end_once(outage, clock):
    with capture_logs() as logs:
        for _ in range(30):
            outage.failed(psycopg.OperationalError("refused"))
            clock.now += 1
        clock.now += REMINDER_SECONDS
        outage.failed(psycopg.OperationalError("refused"))
        for _ in range(3):
            outage.wrote()
    assert [entry["event"] for entry in logs] == [
        "database is away",
        "database is still away",
        "database is back",
    ]
    assert outage.cause is None


def test_after_a_full_disk_a_write_is_believed_when_nothing_has_failed_for_a_while(outage, clock):
    outage.failed(errors.DiskFull())
    assert outage.needs_room
    for _ in range(5):
        clock.now += QUIET_SECONDS / 2
        outage.wrote()
        assert outage.cause is not None
        outage.failed(errors.DiskFull())
    clock.now += QUIET_SECONDS
    outage.wrote()
    assert outage.cause is None
    assert not outage.needs_room


def test_a_full_disk_is_not_forgotten_when_the_server_also_went_away(outage, clock):
    outage.failed(errors.DiskFull())
    outage.failed(psycopg.OperationalError("the server closed the connection"))
    assert outage.needs_room


def test_a_lost_connection_is_over_with_the_next_write(outage):
    outage.failed(psycopg.OperationalError("reset"))
    outage.wrote()
    assert outage.cause is None


@pytest.mark.parametrize("error", [errors.SerializationFailure(), errors.LockNotAvailable()])
def test_two_transactions_that_met_are_no_outage(outage, error):
    outage.failed(error)
    assert outage.cause is None


def test_the_log_has_no_row_of_the_database(outage):
    error = psycopg.OperationalError("could not extend file\nDETAIL: Failing row contains (secret)")
    with capture_logs() as logs:
        outage.failed(error)
    assert "secret" not in str(logs)
