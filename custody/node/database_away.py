"""The failure of a job whose node cannot use its database now."""

from collections.abc import Iterator
from contextlib import contextmanager

from custody.database.causes import is_transient
from custody.node.errors import Failed, NotDone


def database_away() -> Failed:
    """Return the failure: another attempt may succeed."""
    return Failed("database_away", "the node's database is unavailable", transient=True)


@contextmanager
def database_needed() -> Iterator[None]:
    """Raise ``database_away`` for an error of an unavailable database."""
    try:
        yield
    except NotDone:
        raise
    except Exception as error:
        if is_transient(error):
            raise database_away() from error
        raise
