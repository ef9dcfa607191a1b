"""A temporary PostgreSQL cluster, from the binaries of this machine.

PostgreSQL refuses to run as root. For root, the cluster runs as the user ``postgres``, with its
data in a folder of that user in /var/tmp: other users may be unable to enter our own folders.
"""

import os
import pwd
import re
import secrets
import shutil
import signal
import tempfile
from dataclasses import replace
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
MEMORY = Path("/dev/shm")  # noqa: S108 (likewise)
MEMORY_NEEDED = 8 * 2**30
"""Bytes that must be free for a server in MEMORY. All servers of a test run need about half."""
END_SIGNAL = signal.SIGQUIT
"""The signal for an immediate shutdown without a checkpoint: the data is not needed again."""
SUPERUSER = "custody"
UNPRIVILEGED_USER = "postgres"


class Cluster:
    """One PostgreSQL server on a free port of 127.0.0.1, with a random password (SCRAM).

    ``durable``: fsync is on, as in production. Without it a power failure loses data, which are in
    memory if there is room: a copy of a database then takes a tenth of the time.
    ``of``: the primary that this server is a streaming standby of.
    """

    def __init__(
        self,
        log: Path,
        durable: bool = True,
        launcher: Launcher | None = None,
        of: "Cluster | None" = None,
    ) -> None:
        base = BASE if durable or not _has_room(MEMORY) else MEMORY
        remove_abandoned(base, PREFIX)
        self._binaries = find_binaries()
        self._user = _unprivileged_user()
        self._launcher = launcher or Tied()
        self._log = log
        self._durable = durable
        self._password: str = secrets.token_urlsafe(24) if of is None else of._password
        self._process: Process | None = None
        self._administrators: dict[int, psycopg.Connection[tuple[object, ...]]] = {}
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self.port = free_port()
        try:
            self._launcher.keep_folder(self.folder)
            if of is None:
                self._initialise()
            else:
                of._own(self.folder)
                of.base_backup(self._data, "--write-recovery-conf")
                self.configure(f"port = {self.port}\ncluster_name = 'standby'\n")
        except BaseException:
            self.remove()
            raise

    def base_backup(self, data: Path, *options: str) -> None:
        """Copy this running server's data into a new folder, whose parent its user can write."""
        arguments: list[str | Path] = [self._binaries / "pg_basebackup", "--pgdata", data]
        arguments += ["--host", LOCALHOST, "--port", str(self.port), "--username", SUPERUSER]
        arguments += ["--checkpoint=fast", "--no-password", *options]
        program = self._program("pg_basebackup", arguments)
        environment = {**(program.environment or {}), "PGPASSWORD": self._password}
        run(replace(program, environment=environment), "copy a database cluster")

    def configure(self, lines: str) -> None:
        """Append lines to postgresql.conf: the last line about a setting counts."""
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(lines)

    def _initialise(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        self._own(self.folder)
        self._own(password_file)
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
        self.configure(
            f"listen_addresses = '{LOCALHOST}'\n"
            f"port = {self.port}\n"
            "unix_socket_directories = ''\n"
            f"max_connections = {MAX_CONNECTIONS}\n"
            f"fsync = {sync}\n"
            f"synchronous_commit = {sync}\n"
            f"full_page_writes = {sync}\n"
            f"max_wal_size = {'1GB' if self._durable else '256MB'}\n"
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

    def url_with(self, standby: "Cluster", database: str = "postgres") -> str:
        """Return a URL of this server and its standby, which leads to the one that takes writes."""
        hosts = f"{LOCALHOST}:{self.port},{LOCALHOST}:{standby.port}"
        query = "target_session_attrs=read-write"
        return f"postgresql://{SUPERUSER}:{self._password}@{hosts}/{database}?{query}"

    def start(self) -> None:
        """Start the server and wait until it takes connections. Raise OperatorError."""
        postgres: list[str | Path] = [self._binaries / "postgres", "-D", self._data]
        program = self._program("postgres", postgres)
        self._process = self._launcher.start(program, END_SIGNAL)
        wait_until(self._process, self._is_ready, START_TIMEOUT)

    def _is_ready(self) -> bool:
        """Return whether postmaster.pid says `ready`, or `standby`: pg_ctl reads it there too."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        if len(lines) < 8 or lines[0] != str(self.process.pid):
            return False
        return lines[7].strip() in ("ready", "standby")

    def start_standby(self, log: Path) -> "Cluster":
        """Start a synchronous standby: from now on a commit waits until the standby has it."""
        standby = Cluster(log, self._durable, self._launcher, of=self)
        try:
            standby.start()
            self.wait_for_standby()
        except BaseException:
            standby.remove()
            raise
        return standby

    @property
    def archive(self) -> Path:
        """Return the folder of the archived WAL."""
        return self.folder / "archive"

    def archive_wal(self) -> None:
        """Copy each finished WAL segment to ``archive`` from the next start on."""
        self.archive.mkdir(mode=0o700)
        self._own(self.archive)
        copy = f"test ! -f {self.archive}/%f && cp %p {self.archive}/%f.part"
        move = f"mv {self.archive}/%f.part {self.archive}/%f"
        self.configure(f"archive_mode = on\narchive_command = '{copy} && {move}'\n")

    def recover_until(self, base: Path, target: str) -> None:
        """Replace this stopped server's data by a base backup, with the WAL up to a point in time.

        ``target``: a line of postgresql.conf, for example ``recovery_target_time = '...'``. Start
        the server and wait until it takes writes.
        """
        shutil.rmtree(self._data)
        shutil.move(base, self._data)
        self.configure(
            f"restore_command = 'cp {self.archive}/%f %p'\n"
            f"{target}\n"
            "recovery_target_action = 'promote'\n"
        )
        signal_file = self._data / "recovery.signal"
        signal_file.touch()
        self._own(signal_file)
        self.start()
        wait_until(self.process, self._takes_writes, START_TIMEOUT)

    def _takes_writes(self) -> bool:
        try:
            with psycopg.connect(self.url()) as connection:
                found = connection.execute("SELECT NOT pg_is_in_recovery()").fetchone()
        except psycopg.OperationalError:
            return False
        return found is not None and bool(found[0])

    def _own(self, path: Path) -> None:
        """Give a file or folder to the user who runs PostgreSQL."""
        if self._user is not None:
            shutil.chown(path, self._user, self._user)

    def wait_for_standby(self) -> None:
        """Have commits wait for any standby, and wait until one is synchronous."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
            connection.execute("SELECT pg_reload_conf()")

            def is_synchronous() -> bool:
                states = connection.execute("SELECT sync_state FROM pg_stat_replication")
                return ("quorum",) in states.fetchall()

            wait_until(self.process, is_synchronous, START_TIMEOUT)

    def promote(self) -> None:
        """Make a standby the primary, as `pg_ctl promote` does. Wait until it takes writes."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote(wait => true)")

    def stop(self) -> None:
        """Shut the server down fast: it ends sessions and rolls transactions back."""
        if self._process is not None:
            self._process.stop(signal.SIGINT)
            self._process = None

    def kill(self) -> None:
        """Shut the server down without a checkpoint: the next start recovers from the WAL."""
        self.process.stop(END_SIGNAL)
        self._process = None

    def kill_hard(self) -> None:
        """Send SIGKILL to the server. Its sessions end when they notice that."""
        self.process.kill()
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
        if self._durable:
            with psycopg.connect(self.url(), autocommit=True) as connection:
                connection.execute(statement)
            return
        administrator = self._kept_administrator()
        try:
            administrator.execute(statement)
        except psycopg.OperationalError:
            if not administrator.closed:
                raise
            self._kept_administrator().execute(statement)  # the server has ended the session

    def _kept_administrator(self) -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection of this process that stays open: tests make many databases."""
        kept = self._administrators.get(os.getpid())
        if kept is None or kept.closed:
            kept = psycopg.connect(self.url(), autocommit=True)
            # A forked child must not close the connection of its parent, so none is removed.
            self._administrators[os.getpid()] = kept
        return kept

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


def _has_room(folder: Path) -> bool:
    """Return whether a file system in memory has room, and the machine has the memory."""
    try:
        free = shutil.disk_usage(folder).free
        available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return False
    return available is not None and min(free, int(available[1]) * 1024) >= MEMORY_NEEDED


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
