"""The throw-away PostgreSQL: databases from a template, stop, crash and start again."""

from pathlib import Path

import psycopg
import pytest

from devstack.postgres import Cluster


def write(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE notes (text varchar)")
        connection.execute("INSERT INTO notes VALUES ('kept')")


def read(url: str) -> list[tuple[str]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT text FROM notes").fetchall()


def test_a_database_is_a_copy_of_its_template(cluster):
    write(cluster.create_database("original"))
    assert read(cluster.create_database("copy", "original")) == [("kept",)]


def test_committed_rows_survive_a_stop_and_a_crash(cluster):
    url = cluster.create_database("notes")
    write(url)
    cluster.stop()
    with pytest.raises(psycopg.OperationalError):
        read(url)
    cluster.start()
    cluster.kill()
    cluster.start()
    assert read(url) == [("kept",)]


def test_a_connection_without_the_password_is_refused(cluster):
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://custody@127.0.0.1:{cluster.port}/postgres")


def test_nothing_is_left_after_remove(tmp_path):
    cluster = Cluster(tmp_path / "postgres.log", durable=False)
    cluster.start()
    identity, folder = cluster.process.identity, Path(cluster.folder)
    cluster.remove()
    assert not identity.is_alive()
    assert not folder.exists()
