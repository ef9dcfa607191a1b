"""A real PgBouncer before a test's database."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from devstack.launcher import Tied
from devstack.postgres import BASE, UNPRIVILEGED_USER
from devstack.processes import LOCALHOST, Program, free_port, wait_until
from tests.integration.database.relay import at


@contextlib.contextmanager
def pgbouncer(url: str, mode: str) -> Iterator[str]:
    """Run PgBouncer with a pool_mode; yields the database's URL through it.

    It refuses to run as root, and so has a folder that another user can enter.
    """
    parts, port = conninfo_to_dict(url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="custody-pgbouncer-", dir=BASE))
    users, settings = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{parts["user"]}" "{parts["password"]}"\n')
    settings.write_text(
        f"[databases]\n* = host={parts['host']} port={parts['port']}\n"
        f"[pgbouncer]\nlisten_addr = {LOCALHOST}\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {mode}\n"
    )
    user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
    if user is not None:
        for path in (folder, users, settings):
            shutil.chown(path, user)
    program = Program(
        "pgbouncer", [_binary(), settings], folder, folder / "log", environment={}, user=user
    )
    process = Tied().start(program, signal.SIGINT)
    try:
        wait_until(process, lambda: _listens(port), 10)
        yield at(parts, LOCALHOST, port)
    finally:
        process.stop(signal.SIGINT)
        shutil.rmtree(folder)


def _binary() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None, "apt-get install pgbouncer"
    return found


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOCALHOST, port), 1):
        return True
    return False
