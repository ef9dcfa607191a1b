"""A real delivery server in this process that keeps every byte that signers send it.

The bytes are those after decryption: request lines, headers and bodies, as HTTP has them. The
certificates of the signers' TLS are kept beside them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import custody.delivery.server
from custody.delivery.connections import CountedProtocol
from custody.delivery.server import serving
from custody.delivery.settings import HealthSection, ServerSection, Settings, TicketsSection
from devstack.certificates import Leaf
from devstack.processes import LOCALHOST
from tests.integration.ceremonies.orders import DELIVERY


class RecordedDelivery:
    """Inside ``serving`` it records."""

    def __init__(self) -> None:
        self.url = ""
        self._connections: list[bytearray] = []

    @property
    def received(self) -> bytes:
        """Connection after connection: what came over one is not interleaved with another's."""
        return b"\x00".join(map(bytes, self._connections))

    def forget(self) -> None:
        for connection in self._connections:
            connection.clear()

    def headers(self) -> set[bytes]:
        """The names of all headers that came."""
        names = set()
        for part in self.received.split(b"HTTP/1.1\r\n")[1:]:
            lines = part.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
            names |= {line.split(b":", 1)[0].lower() for line in lines}
        return names

    @contextlib.asynccontextmanager
    async def serving(
        self, leaf: Leaf, job_signing_key: str, patch: pytest.MonkeyPatch
    ) -> AsyncIterator["RecordedDelivery"]:
        record = self._connections

        class Recording(CountedProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                tls = transport.get_extra_info("ssl_object")
                self._received = bytearray(tls.getpeercert(True) or b"")
                record.append(self._received)
                super().connection_made(transport)

            def data_received(self, data: bytes) -> None:
                self._received += data
                super().data_received(data)

        patch.setattr(custody.delivery.server, "CountedProtocol", Recording)
        async with serving(_settings(leaf, job_signing_key)) as ports:
            self.url = f"https://{LOCALHOST}:{ports['delivery']}"
            yield self


def _settings(leaf: Leaf, job_signing_key: str) -> Settings:
    files: dict[str, Path] = {
        "certificate": leaf.certificate,
        "private_key": leaf.private_key,
        "client_ca": leaf.ca,
    }
    return Settings(
        server=ServerSection(name=DELIVERY, host=LOCALHOST, port=0, **files),
        tickets=TicketsSection(job_signing_keys=[job_signing_key]),
        health=HealthSection(port=0),
    )
