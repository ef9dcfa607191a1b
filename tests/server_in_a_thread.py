"""HTTPS servers that a test plays: what somebody else runs, behind a real connection."""

import asyncio
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from starlette.applications import Starlette

from custody.runtime.listener import Listener, config
from custody.runtime.live_tls import LiveTls
from custody.runtime.tls import TlsFiles
from devstack.processes import LOCALHOST


class ServerInAThread(ABC):
    """Runs in a thread of its own inside ``with``. ``name``: for messages."""

    name: str

    def __init__(self, files: TlsFiles) -> None:
        self._tls = LiveTls(files)
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.port = 0

    @abstractmethod
    def application(self) -> Starlette:
        """What answers."""

    @abstractmethod
    def let_go(self) -> None:
        """End what waits, as the server stops."""

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(15):
            raise TimeoutError(f"the {self.name} did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        listener = Listener(
            config(
                self.application(),
                LOCALHOST,
                0,
                tls=self._tls,
                date_header=False,
            )
        )
        self.port = await listener.start()
        self._started.set()
        await self._stop.wait()
        stopping = asyncio.create_task(listener.stop())
        self.let_go()
        # what hangs is left hanging: the thread ends with the loop
        await asyncio.wait([stopping], timeout=0.5)
