"""PostgreSQL's own tools, pg_dump and pg_restore, as streams.

A password goes to them in the environment, which only this user can read, never as an argument.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from psycopg.conninfo import make_conninfo

from custody.backup.errors import NotGood
from custody.database.url import CONNECT_SECONDS, KEEPALIVES, parts_of
from custody.runtime.errors import ConfigurationError, OperatorError

LOCK_WAIT = "30s"
"""pg_dump fails if a migration holds a table's lock for longer."""
MAX_SAID = 2000


def find_tool(name: str) -> Path:
    """Return the newest installed version of a tool: Debian's folders first, then PATH.

    Raise OperatorError.
    """
    versions = list(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if versions:
        return max(versions, key=lambda path: float(path.parent.parent.name))
    found = shutil.which(name)
    if found is None:
        raise OperatorError(
            f"PostgreSQL's {name} is not installed on this host",
            "Run: apt-get install postgresql-client",
        )
    return Path(found)


def _connection(url: str) -> tuple[str, dict[str, str]]:
    """Return a connection string without secrets, and the environment with the password."""
    parts = parts_of(url)
    if "sslpassword" in parts:
        raise ConfigurationError(
            "the database URL has sslpassword, which cannot be passed to pg_dump secretly",
            "Use a private key without passphrase for sslkey, of mode 0600.",
        )
    password = parts.pop("password", None)
    environment = os.environ | {"LC_ALL": "C", "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS)}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo("", **{**parts, **KEEPALIVES}), environment


class _Dump:
    """What pg_dump writes. Reading raises OperatorError at the end unless pg_dump succeeded."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._process = process
        self._said = said

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if not data and self._process.wait() != 0:
            raise OperatorError(
                f"pg_dump failed: {_said(self._said)}",
                "No backup was made. Check that PostgreSQL runs, that the role may read every "
                "table, and that pg_dump is not older than the server.",
            )
        return data


@contextmanager
def dumped(url: str, snapshot: str) -> Iterator[_Dump]:
    """Dump the database of an exported snapshot in pg_dump's custom format."""
    connection, environment = _connection(url)
    arguments: list[Any] = [
        find_tool("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", "--no-password",
        f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}", f"--dbname={connection}",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
            env=environment,
        )  # fmt: skip
        try:
            yield _Dump(process, said)
        finally:
            _end(process)


class _Restore:
    """The input of pg_restore."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        assert process.stdin is not None
        self._stream = process.stdin
        self._process = process
        self._said = said

    def write(self, data: bytes) -> int:
        try:
            return self._stream.write(data)
        except BrokenPipeError:
            raise self._failed() from None

    def finish(self) -> None:
        """Wait until the database is restored. Raise NotGood."""
        try:
            self._stream.close()
        except BrokenPipeError:
            raise self._failed() from None
        if self._process.wait() != 0:
            raise self._failed()

    def _failed(self) -> NotGood:
        self._process.wait()
        return NotGood(
            f"pg_restore failed: {_said(self._said)}",
            "Correct what it names. A pg_restore older than the pg_dump that made the backup, or "
            "a role without the right to create tables, are the usual causes.",
        )


@contextmanager
def restoring(url: str) -> Iterator[_Restore]:
    """Restore a dump into a database, in one transaction. The caller writes, then finishes."""
    connection, environment = _connection(url)
    arguments: list[Any] = [
        find_tool("pg_restore"), "--no-owner", "--no-privileges", "--no-password",
        "--single-transaction", "--exit-on-error", f"--dbname={connection}",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said,
            env=environment,
        )  # fmt: skip
        try:
            yield _Restore(process, said)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and only then its input.

    The end of its input could be the end of a whole dump for pg_restore, which would commit.
    """
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()


def _said(said: IO[bytes]) -> str:
    said.seek(0)
    text = " ".join(said.read(MAX_SAID).decode(errors="replace").split())
    return text or "it said nothing"
