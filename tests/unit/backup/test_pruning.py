"""Which backups `prune` deletes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from custody.backup.folder import to_delete

NOW = datetime(2026, 6, 30, tzinfo=UTC)
OLDEST = NOW - timedelta(days=35)


def backups(
    *ages_in_days: int, verified: tuple[int, ...] = ()
) -> list[tuple[Path, datetime, bool]]:
    return [(Path(f"{age}"), NOW - timedelta(days=age), age in verified) for age in ages_in_days]


def deleted(found: list[tuple[Path, datetime, bool]], keep_count: int) -> list[str]:
    return [path.name for path in to_delete(found, OLDEST, keep_count)]


def test_backups_stay_while_they_are_young():
    assert deleted(backups(0, 10, 35, 36, 60), 1) == ["60", "36"]


def test_the_newest_stay_however_old_they_are():
    assert deleted(backups(40, 50, 60, 70), 2) == ["70", "60"]


def test_the_newest_verified_backup_stays():
    found = backups(40, 50, 60, 70, verified=(60, 70))
    assert deleted(found, 1) == ["70", "50"]


def test_nothing_is_deleted_of_few_backups():
    assert deleted(backups(90, 100), 7) == []
    assert deleted([], 1) == []
