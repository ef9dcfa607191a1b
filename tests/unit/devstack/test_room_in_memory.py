"""A PostgreSQL server of tests keeps its data in memory only where there is room."""

from pathlib import Path

import pytest

from devstack import postgres


@pytest.mark.parametrize(("needed", "has_room"), [(1, True), (2**60, False)])
def test_both_the_file_system_and_the_machine_must_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int, has_room: bool
):
    monkeypatch.setattr(postgres, "MEMORY_NEEDED", needed)
    assert postgres._has_room(tmp_path) is has_room


def test_without_such_a_file_system_there_is_no_room():
    assert not postgres._has_room(Path("/nowhere"))
