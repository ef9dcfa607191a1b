"""Samples of what each daemon uses, with the processes below it, and of the machine's speed.

The machine may slow down because other programs use it. Then a fixed piece of work takes longer as
well, while the daemons use no more processor time than before.
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devstack.service import Service
from devstack.soak.faults import children
from devstack.soak.judgement import Sample

EVERY = 2.0
"""Seconds between two samples."""
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
WORK = bytes(8 * 2**20)
"""Hashing this takes some milliseconds of one core, and needs no interpreter meanwhile."""


class Resources:
    """Samples by the name of the daemon. A daemon that is away has no sample meanwhile."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.memory: dict[str, list[Sample]] = {service.name: [] for service in services}
        self.descriptors: dict[str, list[Sample]] = {service.name: [] for service in services}
        self.processor: dict[str, list[Sample]] = {service.name: [] for service in services}
        self.work: list[Sample] = []
        """Seconds of a fixed piece of work."""
        self._services = services
        self._used: dict[str, tuple[float, list[int], float]] = {}
        """By daemon: when it was sampled, its processes, and their processor seconds."""

    @contextmanager
    def sampled(self) -> Iterator[None]:
        """Take samples meanwhile."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop, time.monotonic()))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _run(self, stop: threading.Event, began: float) -> None:
        while not stop.wait(EVERY):
            for service in self._services:
                self._sample(service, time.monotonic() - began)
            started = time.monotonic()
            hashlib.sha256(WORK).digest()
            self.work.append(Sample(started - began, time.monotonic() - started))

    def _sample(self, service: Service, at: float) -> None:
        if not service.is_running:
            return
        try:
            pids = [service.process.pid, *children(service.process.pid)]
            memory = sum(_resident(pid) for pid in pids)
            descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)  # noqa: PTH208
            used = sum(_processor_seconds(pid) for pid in pids)
        except (OSError, RuntimeError):  # ended meanwhile
            return
        self.memory[service.name].append(Sample(at, memory))
        self.descriptors[service.name].append(Sample(at, descriptors))
        before, same, used_before = self._used.get(service.name, (at, [], 0.0))
        self._used[service.name] = at, pids, used
        if pids == same:
            cores = (used - used_before) / (at - before)
            self.processor[service.name].append(Sample(at, cores))


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def _processor_seconds(pid: int) -> float:
    """Return utime and stime of proc(5), fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
