"""Database errors in words for operators, and a retry until the database is available."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from custody.database.causes import (
    DATABASE_ERRORS,
    DOES_NOT_ANSWER,
    UnreadableValue,
    cause_of,
    is_refused,
    is_transient,
)
from custody.runtime.errors import OperatorError

Result = TypeVar("Result")

PASSING_REFUSALS = (
    "starting up",
    "shutting down",
    "recovery mode",
    "too many",
    "not yet accepting",
)
MAX_WAIT_SECONDS = 5

_log = structlog.get_logger(__name__)


def is_refusal(error: BaseException) -> bool:
    """Return whether the server refuses the client: wrong password, database, role or host."""
    if is_refused(error):
        return True
    text = str(error) if isinstance(error, psycopg.Error) else ""
    return "FATAL" in text and not any(passing in text for passing in PASSING_REFUSALS)


def explain(error: BaseException) -> OperatorError:
    """Return libpq's or the server's error, without the statement. libpq hides the password."""
    said = str(error)
    cause = cause_of(error)
    if cause is not DOES_NOT_ANSWER and not is_refusal(error):
        return OperatorError(
            f"the database cannot be used: {cause.what}: {said.splitlines()[0]}", cause.todo
        )
    return OperatorError(
        f"the database cannot be used: {' '.join(said.split()) or type(error).__name__}",
        "Check that PostgreSQL runs and that the [database] section of the configuration is right.",
    )


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn the error of an unavailable or refusing database into an OperatorError, for commands."""
    try:
        yield
    except (psycopg.DataError, UnreadableValue) as error:
        raise OperatorError(
            f"a row of the database has a value that cannot be read: {str(error).splitlines()[0]}",
            "Compare the database with a backup: somebody has changed it by hand, or its disk is "
            "damaged.",
        ) from None
    except DATABASE_ERRORS as error:
        if not is_transient(error):
            raise
        raise explain(error) from None


async def once_reachable(work: Callable[[], Awaitable[Result]]) -> Result:
    """Do work, and repeat it until the database is available.

    Raise OperatorError at once if the server refuses the client: waiting does not help.
    """

    def waitable(error: BaseException) -> bool:
        return is_transient(error) and not is_refusal(error)

    async def attempt() -> Result:  # tenacity awaits a coroutine function, but not a lambda
        return await work()

    try:
        return await AsyncRetrying(
            retry=retry_if_exception(waitable),
            wait=wait_exponential(multiplier=0.2, max=MAX_WAIT_SECONDS),
            before_sleep=_say_waiting,
            reraise=True,
        )(attempt)
    except DATABASE_ERRORS as error:
        if not is_refusal(error):
            raise
        raise explain(error) from None


def _say_waiting(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    reason = explain(error).what if isinstance(error, DATABASE_ERRORS) else type(error).__name__
    _log.warning("waiting for the database", attempt=state.attempt_number, reason=reason)
