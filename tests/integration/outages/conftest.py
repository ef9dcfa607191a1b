"""A PostgreSQL server with a database on a disk so small that a test can fill it."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from custody.database import health as database_health
from devstack.postgres import UNPRIVILEGED_USER, Cluster
from tests.integration.outages.broken_statements import BrokenStatements

SIZE = "64m"


class SmallDisk:
    """A file system of its own, with a tablespace on it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._filler = folder / "filler"
        data = folder / "tablespace"
        data.mkdir(mode=0o700)
        shutil.chown(data, UNPRIVILEGED_USER, UNPRIVILEGED_USER)
        self._execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(str(data)))

    def create_database(self) -> str:
        name = f"small_{secrets.token_hex(4)}"
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 TABLESPACE small").format(
                sql.Identifier(name)
            )
        )
        return self._cluster.url(name)

    def fill(self) -> None:
        """Leave not one byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._cluster.url(), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    cluster = Cluster(tmp_path_factory.mktemp("small") / "postgres.log", durable=False)
    folder = cluster.folder / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("only root may mount a file system, and CI is root")
        folder.chmod(0o755)
        cluster.start()
        yield SmallDisk(cluster, folder)
    finally:
        cluster.stop()
        subprocess.run(["umount", str(folder)], capture_output=True, check=False)
        cluster.remove()


@pytest.fixture
def small_disk(disk: SmallDisk) -> Iterator[SmallDisk]:
    """It has room at the test's begin and end."""
    yield disk
    disk.make_room()


@pytest.fixture
def hasty_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test sees in a second what an operator sees in ten."""
    monkeypatch.setattr(database_health, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(database_health, "AWAY_PROBE_SECONDS", 0.05)
    monkeypatch.setattr(database_health, "QUIET_SECONDS", 0.5)


@pytest.fixture
def broken_statements(monkeypatch: pytest.MonkeyPatch) -> BrokenStatements:
    return BrokenStatements(monkeypatch)
