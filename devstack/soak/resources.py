"""Samples of the memory and the open descriptors of each daemon, with the processes below it."""

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


class Resources:
    """Samples by the name of the daemon. A daemon that is away has no sample meanwhile."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.memory: dict[str, list[Sample]] = {service.name: [] for service in services}
        self.descriptors: dict[str, list[Sample]] = {service.name: [] for service in services}
        self._services = services

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

    def _sample(self, service: Service, at: float) -> None:
        if not service.is_running:
            return
        try:
            pids = [service.process.pid, *children(service.process.pid)]
            memory = sum(_resident(pid) for pid in pids)
            descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)  # noqa: PTH208
        except (OSError, RuntimeError):  # ended meanwhile
            return
        self.memory[service.name].append(Sample(at, memory))
        self.descriptors[service.name].append(Sample(at, descriptors))


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
