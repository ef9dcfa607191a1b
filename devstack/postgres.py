"""A temporary PostgreSQL cluster, from the binaries of this machine.

PostgreSQL refuses to run as root. For root, the cluster runs as the user ``postgres``, with its
data in a folder of that user in /var/tmp: other users may be unable to enter our own folders.
"""

import os
import pwd
import secrets
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from custody.runtime.errors import OperatorError
from devstack.launcher import Launcher, Tied, remove_abandoned
from devstack.processes import (
    LOCALHOST,
    Process,
    Program,
    free_port,
    run,
    wait_until,
)

START_TIMEOUT = 60.0
MAX_CONNECTIONS = 200
PREFIX = "custody-postgres-"
BASE = Path("/var/tmp")  # noqa: S108 (the folder made in it has a random name and mode 0700)
END_SIGNAL = signal.SIGQUIT
"""The signal for an immediate shutdown without a checkpoint: the data is not needed again."""
SUPERUSER = "custody"
UNPRIVILEGED_USER = "postgres"


class Cluster:
    """One PostgreSQL server on a free port of 127.0.0.1, with a random password (SCRAM).

    ``durable``: fsync is on, as in production. Without it, only a power failure loses data.
    """

    def __init__(self, log: Path, durable: bool = True, launcher: Launcher | None = None) -> None:
        remove_abandoned(BASE, PREFIX)
        self._binaries = find_binaries()
        self._user = _unprivileged_user()
        self._launcher = launcher or Tied()
        self._log = log
        self._durable = durable
        self._password = secrets.token_urlsafe(24)
        self._process: Process | None = None
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=BASE))
        self.port = free_port()
        try:
            self._initialise()
        except BaseException:
            self.remove()
            raise

    def _initialise(self) -> None:
        self._launcher.keep_folder(self.folder)
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        if self._user is not None:
            shutil.chown(self.folder, self._user, self._user)
            shutil.chown(password_file, self._user, self._user)
        password_file.chmod(0o600)
        initdb: list[str | Path] = [
            self._binaries / "initdb",
            "--pgdata",
            self._data,
            "--username",
            SUPERUSER,
        ]
        initdb += ["--pwfile", password_file, "--auth=scram-sha-256", "--encoding=UTF8"]
        initdb += ["--locale=C", "--no-sync", "--no-instructions"]
        run(self._program("initdb", initdb), "make a database cluster")
        password_file.unlink()
        sync = "on" if self._durable else "off"
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(
                f"listen_addresses = '{LOCALHOST}'\n"
                f"port = {self.port}\n"
                "unix_socket_directories = ''\n"
                f"max_connections = {MAX_CONNECTIONS}\n"
                f"fsync = {sync}\n"
                f"synchronous_commit = {sync}\n"
                f"full_page_writes = {sync}\n"
                "log_min_messages = warning\n"
            )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def process(self) -> Process:
        """Return the running server. Raise RuntimeError if it was not started."""
        if self._process is None:
            raise RuntimeError("this PostgreSQL server is not running")
        return self._process

    def url(self, database: str = "postgres") -> str:
        """Return a postgresql:// URL that contains the password."""
        return f"postgresql://{SUPERUSER}:{self._password}@{LOCALHOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it takes connections. Raise OperatorError."""
        postgres: list[str | Path] = [self._binaries / "postgres", "-D", self._data]
        program = self._program("postgres", postgres)
        self._process = self._launcher.start(program, END_SIGNAL)
        wait_until(self._process, self._is_ready, START_TIMEOUT)

    def _is_ready(self) -> bool:
        """Return whether postmaster.pid says `ready`: pg_ctl reads the state there too."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def stop(self) -> None:
        """Shut the server down fast: it ends sessions and rolls transactions back."""
        if self._process is not None:
            self._process.stop(signal.SIGINT)
            self._process = None

    def kill(self) -> None:
        """Shut the server down without a checkpoint: the next start recovers from the WAL."""
        self.process.stop(END_SIGNAL)
        self._process = None

    def remove(self) -> None:
        """Stop the server without a checkpoint, and delete its data."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str, template: str = "template0") -> str:
        """Create a database as a copy of another and return its URL."""
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        if not self._durable:
            # the default strategy copies through the WAL, which takes twice as long without fsync
            copy += sql.SQL(" STRATEGY file_copy")
        self._execute(copy)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and cut off every client that is still connected to it."""
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def _program(self, name: str, arguments: list[str | Path]) -> Program:
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
        return Program(name, arguments, self.folder, self._log, environment, self._user)


def find_binaries() -> Path:
    """Return the folder of the newest server's binaries: Debian's folders first, then PATH."""
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda folder: float(folder.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise OperatorError(
            "PostgreSQL's server is not installed", "Run: apt-get install postgresql"
        )
    return Path(found).resolve().parent


def _unprivileged_user() -> str | None:
    """Return the user who runs PostgreSQL; None: the current user."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise OperatorError(
            f"PostgreSQL refuses to run as root, and there is no user {UNPRIVILEGED_USER}",
            "Create the user: apt-get install postgresql. Or run the command as another user.",
        ) from None
    return UNPRIVILEGED_USER
