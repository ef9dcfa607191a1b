"""A scratch database: made for one verification, and dropped after it, also after a kill.

The state directory has a file for each scratch database, which the verification locks. A file that
nobody locks belongs to a process that was killed: the next verification drops that database.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import structlog
from psycopg import sql

from custody.backup.daemon import Daemon
from custody.backup.history import locked
from custody.database.errors import database_errors
from custody.database.url import conninfo, parts_of, with_database
from custody.runtime.errors import OperatorError

FOLDER = "scratch"
PREFIX = "custody_scratch_"
LOCK = "lock"

_log = structlog.get_logger(__name__)

_CREATE = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
_DROP = "DROP DATABASE IF EXISTS {} WITH (FORCE)"


@contextmanager
def scratch_database(daemon: Daemon) -> Iterator[str]:
    """Create an empty database, return its URL, and drop it at the end. Raise OperatorError."""
    server = daemon.section.read_scratch_url() or daemon.database_url
    folder = daemon.state_directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = PREFIX + secrets.token_hex(8)
    with ExitStack() as stack:
        with locked(folder / LOCK):  # a new file is not locked yet, as if it were abandoned
            _drop_abandoned(server, folder)
            stack.enter_context(_noted(folder / name))
        _create(server, name)
        try:
            yield with_database(server, name)
        finally:
            _drop(server, name)


def _create(server: str, name: str) -> None:
    try:
        with database_errors():
            _run(server, _CREATE, name)
    except psycopg.errors.InsufficientPrivilege:
        role = parts_of(server).get("user", "of the database URL")
        raise OperatorError(
            f"the role {role} may not create a database, so the backup cannot be restored for the "
            "check",
            f"As a superuser run: ALTER ROLE {role} CREATEDB. Or name another server in "
            "[backup] scratch_url.",
        ) from None


def _drop(server: str, name: str) -> None:
    """Drop a scratch database. If that fails, its file stays, and the next verification drops it.

    Raise OperatorError.
    """
    with database_errors():
        _run(server, _DROP, name)


def _run(server: str, statement: str, name: str) -> None:
    with psycopg.connect(conninfo(server, "backup verify"), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


@contextmanager
def _noted(path: Path) -> Iterator[None]:
    """Keep a locked file for the database. The file stays if the database could not be dropped."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        path.unlink()
    finally:
        os.close(descriptor)


def _drop_abandoned(server: str, folder: Path) -> None:
    for path in sorted(folder.glob(f"{PREFIX}*")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # its verification has ended
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # another verification uses it
        else:
            _drop(server, path.name)
            path.unlink(missing_ok=True)
            _log.info("dropped the scratch database of a killed verification", name=path.name)
        finally:
            os.close(descriptor)
