"""A backup that cannot be finished leaves no file that looks like one."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from custody.backup.creation import create
from custody.backup.daemon import Daemon
from custody.backup.folder import BackupFolder
from custody.backup.history import BackupHistory
from custody.database.errors import database_errors
from custody.runtime.errors import ConfigurationError, OperatorError
from tests.full_disk import full_disk
from tests.integration.backup.conftest import DriverHost, no_progress


def left_over(daemon: Daemon) -> list[str]:
    return [path.name for path in daemon.section.folder.iterdir() if path.name != ".lock"]


def test_a_full_disk_leaves_nothing(daemon: Daemon):
    daemon.section.folder.mkdir()
    (daemon.section.folder / ".lock").touch()
    with full_disk(), pytest.raises(OSError, match="File too large"):
        create(daemon, no_progress)
    assert left_over(daemon) == []
    assert BackupHistory(daemon.state_directory).created() is None


def test_a_database_that_goes_away_in_the_middle_leaves_nothing(daemon: Daemon):
    """The server ends every session, among them pg_dump's, once the dump has begun."""
    ended = False

    def end_sessions(step: str, done: int, total: int | None, /, *, is_bytes: bool = False) -> None:
        nonlocal ended
        if step == "database.dump" and not ended:
            ended = True
            with psycopg.connect(daemon.database_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    with pytest.raises(OperatorError, match=r"terminating connection|pg_dump failed"):
        create(daemon, end_sessions)
    assert ended
    assert left_over(daemon) == []


def test_a_database_that_is_away_is_an_error(daemon: Daemon):
    away = replace(daemon, database_url="postgresql://nobody@127.0.0.1:1/nothing")
    with database_errors(), pytest.raises(OperatorError, match="Connection refused"):
        create(away, no_progress)
    assert left_over(daemon) == []


def test_a_folder_that_cannot_be_made_is_named(daemon: Daemon, tmp_path: Path):
    (tmp_path / "file").touch()
    section = daemon.section.model_copy(update={"folder": tmp_path / "file" / "backups"})
    with pytest.raises(OperatorError, match=r"the folder of .backup.: Not a directory") as caught:
        create(replace(daemon, section=section), no_progress)
    assert "daemon's user" in caught.value.todo


def test_without_a_recipient_nothing_is_made(daemon: Daemon):
    section = daemon.section.model_copy(update={"recipients": ()})
    with pytest.raises(ConfigurationError, match="nobody could open"):
        create(replace(daemon, section=section), no_progress)
    assert not daemon.section.folder.exists()


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from custody.backup import creation, layout
from custody.runtime.configuration import read_settings
from hsm_driver.backup import daemon_of
from hsm_driver.settings import DriverSettings

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

config, folder, point = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
daemon = daemon_of(read_settings(config, DriverSettings), config)
section = daemon.section.model_copy(update={"folder": folder / "backups"})
daemon = replace(daemon, section=section, state_directory=folder / "state")
if point == "rename":
    Path.rename = die
elif point == "checked":
    layout.OpenBackup.check = die
creation.create(daemon, die if point == "dump" else lambda *_, **__: None)
"""


@pytest.mark.parametrize("point", ["dump", "checked", "rename"])
def test_a_kill_leaves_no_file_that_list_takes_for_a_backup(
    driver_host: DriverHost, daemon: Daemon, tmp_path: Path, point: str
):
    arguments: list[str | Path] = [
        sys.executable,
        "-c",
        KILLED,
        driver_host.config,
        tmp_path,
        point,
    ]
    done = subprocess.run(arguments, check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert BackupFolder(daemon).listed() == []
    assert left_over(daemon) != []
    with BackupFolder(daemon).changing():  # as the next `create` or `prune` does
        assert left_over(daemon) == []
