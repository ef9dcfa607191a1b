"""Metrics of backups, and what daemons import for them."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from custody.backup.history import CREATED, BackupHistory, CreatedBackup, VerifiedBackup
from custody.backup.metrics import BackupMetrics

TIME = datetime(2026, 6, 30, tzinfo=UTC)
LATER = datetime(2026, 7, 1, tzinfo=UTC)


def verified(file: str, created_at: datetime) -> VerifiedBackup:
    return VerifiedBackup(
        file=file, manifest_sha256="0" * 64, created_at=created_at, verified_at=LATER, tried=1,
        in_all=1,
    )  # fmt: skip


def values(registry: CollectorRegistry) -> list[float | None]:
    names = ("last_seconds", "last_bytes", "last_verified_seconds")
    return [registry.get_sample_value(f"custody_backup_{name}") for name in names]


def test_metrics_are_those_of_the_state_directory_at_each_scrape(tmp_path: Path):
    registry, history = CollectorRegistry(), BackupHistory(tmp_path / "state")
    BackupMetrics(registry).watch(history)
    assert values(registry) == [0, 0, 0]
    history.note_created(CreatedBackup(file="a", created_at=LATER, finished_at=LATER, size=7))
    history.note_verified(verified("a", TIME))
    history.note_verified(verified("b", LATER))
    history.note_verified(verified("a", TIME))
    assert values(registry) == [LATER.timestamp(), 7, LATER.timestamp()]
    history.forget({"b"})
    assert values(registry)[2] == TIME.timestamp()
    (tmp_path / "state" / CREATED).write_text("damaged")
    assert values(registry)[0] == 0


def test_daemons_do_not_import_what_only_commands_need():
    program = (
        "import sys, hsm_driver.driver, mpc.signer, custody.control_plane.serve\n"
        "print({'pyrage', 'alembic', 'custody.backup.age', 'custody.backup.postgres'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.decode().strip() == "set()"
