"""The number of processor cores that this process may use."""

import os
from math import ceil
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cores(own_cgroups: Path = OWN_CGROUPS, cgroups: Path = CGROUPS) -> int:
    """Return the cores that the kernel lets this process use, at least 1.

    This is the smaller of its CPU affinity (sched_getaffinity(2)) and the quota of its cgroup
    (cpu.max of cgroups version 2), rounded up. A host may have many more cores.
    """
    quota = _quota(own_cgroups, cgroups)
    affinity = len(os.sched_getaffinity(0))
    return max(1, affinity if quota is None else min(affinity, ceil(quota)))


def _quota(own_cgroups: Path, cgroups: Path) -> float | None:
    """Return the smallest quota of the cgroup and the cgroups above it, in cores."""
    try:
        lines = own_cgroups.read_text().splitlines()
    except OSError:
        return None
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if path is None:
        return None
    folder = cgroups / path
    folders = [each for each in (folder, *folder.parents) if each.is_relative_to(cgroups)]
    quotas = [quota for each in folders if (quota := _cpu_max(each / "cpu.max")) is not None]
    return min(quotas, default=None)


def _cpu_max(file: Path) -> float | None:
    """Return the cores of one cpu.max: a quota and a period in microseconds, or "max"."""
    try:
        quota, period = file.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
