"""What a daemon tells systemd, received at a real socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.runtime.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def received(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(10)
        yield receiver


def variables(receiver: socket.socket, **more: str) -> dict[str, str]:
    name = receiver.getsockname()
    name = "@" + name[1:].decode() if isinstance(name, bytes) else name
    return {"NOTIFY_SOCKET": name, "PATH": "/bin", **more}


async def test_a_daemon_says_that_it_is_ready_works_and_stops(received):
    environment = variables(received, WATCHDOG_USEC="3000", WATCHDOG_PID=str(os.getpid()))
    manager = ServiceManager(environment)
    assert environment == {"PATH": "/bin"}  # for the processes that the daemon starts
    async with manager.told():
        beats = [await asyncio.to_thread(received.recv, 100) for _ in range(3)]
        manager.stopping()
        while (last := received.recv(100)) == b"WATCHDOG=1":
            pass
    assert beats == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    assert last == b"STOPPING=1"


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "3000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "-1"}]
)
async def test_the_watchdog_of_no_process_or_another_gets_no_beat(received, more):
    manager = ServiceManager(variables(received, **more))
    async with manager.told():
        await asyncio.sleep(0.01)
    manager.stopping()
    assert [received.recv(100), received.recv(100)] == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("name", ["", "/nowhere/notify", "relative"])
async def test_a_daemon_works_without_systemd(name: str):
    manager = ServiceManager({"NOTIFY_SOCKET": name} if name else {})
    async with manager.told():
        manager.stopping()
