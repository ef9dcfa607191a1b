"""How many cores a process may use: less than the host has, in a container."""

import os
from pathlib import Path

import pytest

from custody.runtime.cores import usable_cores

AFFINITY = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("own", "quotas", "cores"),
    [
        ("0::/a/b\n", {}, AFFINITY),
        ("0::/a/b\n", {"a/b": "max 100000"}, AFFINITY),
        ("0::/a/b\n", {"a/b": "50000 100000"}, 1),
        ("0::/a/b\n", {"a": "100000 100000", "a/b": "max 100000"}, 1),
        ("0::/\n", {"": "10000 100000"}, 1),
        ("0::/a\n", {"a": "6400000 100000"}, AFFINITY),
        ("0::/a\n", {"a": "nonsense"}, AFFINITY),
        ("1:cpu:/a\n", {"a": "10000 100000"}, AFFINITY),
        (None, {"": "10000 100000"}, AFFINITY),
    ],
)
def test_the_quota_of_every_cgroup_above_counts(
    tmp_path: Path, own: str | None, quotas: dict[str, str], cores: int
) -> None:
    for folder, text in quotas.items():
        file = tmp_path / "cgroups" / folder / "cpu.max"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if own is not None:
        (tmp_path / "own").write_text(own)
    assert usable_cores(tmp_path / "own", tmp_path / "cgroups") == cores
