"""An exported file is on the disk, with its name, before records are deleted."""

import os
from pathlib import Path

import pytest

from custody.runtime.audit_file import sync_file


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths of what is synced. It is synced for real as well."""
    paths: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def test_a_file_and_its_folder_are_synced(tmp_path: Path, synced: list[Path]):
    path = tmp_path / "audit.jsonl"
    path.touch()
    sync_file(path)
    assert sorted(synced) == [tmp_path, path]


def test_the_folder_of_a_linked_file_is_synced_as_well(tmp_path: Path, synced: list[Path]):
    store, links = tmp_path / "store", tmp_path / "links"
    store.mkdir()
    links.mkdir()
    file, link = store / "audit.jsonl", links / "audit.jsonl"
    file.touch()
    link.symlink_to(file)
    sync_file(link)
    assert sorted(synced) == [links, store, file]
