"""No signer can use the server's memory up, nor keep it from the others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from custody.runtime.tls import client_context
from custody.wire.delivery import MAX_TICKET, DeliveryCode, encode_hand_in, exchange_path
from devstack.delivery import DeliveryOptions, DeliveryServer
from devstack.launcher import Tied
from mpc.ceremonies.delivery_client import DeliveryRefused, DeliveryUnavailable
from tests.integration.delivery.ceremonies import SERVER, ControlPlane, Party, meeting_of
from tests.integration.delivery.conftest import SIGNERS, Connect, Pki, Server, job_signing_key

MIB = 1024 * 1024
TWO = SIGNERS[:2]


async def release(*waiting: asyncio.Task[dict[str, bytes]]) -> None:
    """Cancel what waits."""
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_message_that_is_too_large_is_refused_and_nothing_of_it_kept(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(message_bytes=1000)
    party = await connect("signer-1")
    for size in (1001, 3 * MIB):
        with pytest.raises((DeliveryRefused, DeliveryUnavailable)):
            await party.hand_in(control_plane.ticket(*TWO), 0, *TWO, content=bytes(size))
    assert "custody_delivery_held_bytes 0.0" in await server.metrics()
    other = await connect("signer-2")
    ticket = control_plane.ticket(*TWO)
    await asyncio.gather(
        *(each.hand_in(ticket, 0, *TWO, content=bytes(1000)) for each in (party, other))
    )


async def test_a_request_is_refused_by_the_length_that_it_announces(
    server: Server, pki: Pki, control_plane: ControlPlane
):
    await server.start(message_bytes=1000)
    async with raw(server, pki, "signer-1") as http:
        announced = {"content-length": str(100 * MIB)}
        path = exchange_path(meeting_of(control_plane.ticket(*TWO)), 0)
        async with http.post(path, data=never(), headers=announced) as answer:
            assert answer.status == 413
            assert (await answer.json())["code"] == DeliveryCode.TOO_LARGE


async def test_a_request_of_unknown_length_is_refused(
    server: Server, pki: Pki, control_plane: ControlPlane
):
    await server.start()
    async with raw(server, pki, "signer-1") as http:
        path = exchange_path(meeting_of(control_plane.ticket(*TWO)), 0)
        async with http.post(path, data=never()) as answer:
            assert answer.status == 400
            assert "Content-Length" in (await answer.json())["detail"]


async def test_a_request_that_does_not_come_to_an_end_is_given_up(
    server: Server, pki: Pki, control_plane: ControlPlane
):
    await server.start(body_seconds=0.5)
    async with raw(server, pki, "signer-1") as http:
        path = exchange_path(meeting_of(control_plane.ticket(*TWO)), 0)
        async with http.post(path, data=never(), headers={"content-length": "1000"}) as answer:
            assert answer.status == 408
    assert "custody_delivery_held_bytes 0.0" in await server.metrics()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\x00\x00\x09",
        b"\xff\xff\xff\xffabc",
        encode_hand_in(None, {"signer-2": b"x"}) + b"\x00",
        encode_hand_in(None, {"signer-2": b"x"}) + encode_hand_in(None, {}) * 40,
        encode_hand_in(None, {"signer-2": b"x"}) + encode_hand_in(None, {"signer-2": b"x"})[4:],
        encode_hand_in(None, {"signer-2": b"x"}),
        b"\x00\x00\x18\x00" + bytes(0x1800),
    ],
    ids=["empty", "cut", "beyond", "rest", "many", "twice", "no-ticket", "large-ticket"],
)
async def test_garbage_is_refused_and_nothing_of_it_kept(
    server: Server, pki: Pki, control_plane: ControlPlane, body: bytes
):
    await server.start()
    assert len(body) < 2 * MAX_TICKET
    async with raw(server, pki, "signer-1") as http:
        path = exchange_path(meeting_of(control_plane.ticket(*TWO)), 0)
        async with http.post(path, data=body) as answer:
            assert answer.status in (400, 403)
    metrics = await server.metrics()
    assert "custody_delivery_held_bytes 0.0" in metrics
    assert "custody_delivery_sessions 0.0" in metrics


async def test_one_signer_cannot_begin_more_ceremonies_than_it_may(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(signer_sessions=2)
    first, second = [await connect(name) for name in TWO]
    waiting = [first.hand_in(control_plane.ticket(*TWO), 0, *TWO) for _ in range(2)]
    await server.until_held(2 * len(b"ciphertext"))
    with pytest.raises(DeliveryUnavailable, match="signer-1 has begun 2 ceremonies"):
        await first.hand_in(control_plane.ticket(*TWO), 0, *TWO)
    # another one still can, and the first may take part in it
    ticket = control_plane.ticket(*TWO)
    theirs = second.hand_in(ticket, 0, *TWO)
    await server.until_held(3 * len(b"ciphertext"))
    await first.hand_in(ticket, 0, *TWO)
    await theirs
    await release(*waiting)


async def test_no_more_ceremonies_are_open_than_may_be_and_readiness_says_so(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(total_sessions=1)
    first, second = [await connect(name) for name in TWO]
    waiting = first.hand_in(control_plane.ticket(*TWO, seconds=1.5), 0, *TWO)
    await server.until_held(len(b"ciphertext"))
    with pytest.raises(DeliveryUnavailable, match="1 ceremonies are open"):
        await second.hand_in(control_plane.ticket(*TWO), 0, *TWO)
    answer = await server.health("/readyz")
    assert answer.status_code == 503
    assert "no ceremony can be begun" in answer.json()["problems"]["limits"]
    await asyncio.gather(waiting, return_exceptions=True)  # its ticket ends
    assert (await server.health("/readyz")).status_code == 200
    await release(second.hand_in(control_plane.ticket(*TWO), 0, *TWO))


async def test_one_signer_cannot_have_more_bytes_held_than_it_may(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(message_bytes=MIB, signer_bytes=MIB + 1000, session_bytes=2 * MIB)
    first, second = [await connect(name) for name in TWO]
    waiting = first.hand_in(control_plane.ticket(*TWO), 0, *TWO, content=bytes(MIB // 2))
    await server.until_held(MIB // 2)
    with pytest.raises(DeliveryUnavailable, match="holds 524288 bytes of signer-1"):
        await first.hand_in(control_plane.ticket(*TWO), 0, *TWO, content=bytes(MIB - 100_000))
    more = second.hand_in(control_plane.ticket(*TWO), 0, *TWO, content=bytes(MIB - 100_000))
    await server.until_held(MIB // 2 + MIB - 100_000)
    assert not more.done()
    await release(waiting, more)


async def test_one_ceremony_cannot_have_more_bytes_held_than_it_may(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(message_bytes=1000, session_bytes=1500)
    first, second = [await connect(name) for name in TWO]
    ticket = control_plane.ticket(*TWO)
    waiting = first.hand_in(ticket, 0, *TWO, content=bytes(1000))
    await server.until_held(1000)
    with pytest.raises(DeliveryUnavailable, match="holds 1000 bytes of the ceremony"):
        await second.hand_in(ticket, 0, *TWO, content=bytes(1000))
    await release(waiting)


async def test_a_tickets_limits_hold_where_they_are_lower_than_the_servers(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(message_bytes=5000, session_bytes=5000)
    first, second = [await connect(name) for name in TWO]
    ticket = control_plane.ticket(*TWO, message_bytes=1000, held_bytes=1500)
    waiting = first.hand_in(ticket, 0, *TWO, content=bytes(1000))
    await server.until_held(1000)
    with pytest.raises(DeliveryRefused, match="a message has more than 1000 bytes"):
        await second.hand_in(ticket, 0, *TWO, content=bytes(1001))
    with pytest.raises(DeliveryUnavailable, match="holds 1000 bytes of the ceremony"):
        await second.hand_in(ticket, 0, *TWO, content=bytes(1000))
    await release(waiting)
    ticket = control_plane.ticket(*TWO, message_bytes=10_000, held_bytes=100_000)
    with pytest.raises(DeliveryRefused, match="a message has more than 5000 bytes"):
        await first.hand_in(ticket, 0, *TWO, content=bytes(5001))


async def test_messages_that_have_arrived_are_dropped(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    """As many exchanges as one likes, in a session that has room for two."""
    await server.start(message_bytes=1000, session_bytes=4000)
    two = [await connect(name) for name in TWO]
    ticket = control_plane.ticket(*TWO)
    for number in range(10):
        await asyncio.gather(
            *(party.hand_in(ticket, number, *TWO, content=bytes(1000)) for party in two)
        )
    assert "custody_delivery_held_bytes 2000.0" in await server.metrics()


@pytest.fixture
def small(tmp_path: Path, pki: Pki, control_plane: ControlPlane) -> Iterator[DeliveryServer]:
    """A process that may hold 8 MiB, and has 20 connections for each signer."""
    server = DeliveryServer(SERVER, tmp_path / SERVER, tmp_path / "log", Tied())
    limits = {
        "total_bytes": 8 * MIB,
        "signer_bytes": 7 * MIB,
        "session_bytes": 7 * MIB,
        "signer_connections": 20,
    }
    server.configure(job_signing_key(control_plane), pki.server(), DeliveryOptions(limits))
    server.start()
    yield server
    server.stop()


async def test_a_flood_is_held_in_bounded_memory(
    small: DeliveryServer, connect: Connect, control_plane: ControlPlane
):
    """200 MiB are handed in, 100 messages at a time, by a signer that ends no exchange."""
    party = await connect("signer-1", url=small.url)
    before = most_resident_bytes(small)
    for _ in range(4):
        flood = [
            party.hand_in(control_plane.ticket(*TWO), 0, *TWO, content=bytes(MIB // 2))
            for _ in range(100)
        ]
        while sum(each.done() for each in flood) < 100 - 14:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        ended = [each.exception() for each in flood if each.done()]
        assert all(isinstance(error, DeliveryUnavailable) for error in ended)
        await others_are_served(small, connect, control_plane)
        await release(*flood)
    assert most_resident_bytes(small) - before < 80 * MIB


async def test_headers_that_come_too_slowly_are_cut_and_waiting_takes_no_time_of_theirs(
    server: Server, connect: Connect, control_plane: ControlPlane, pki: Pki
):
    await server.start(head_seconds=0.5)
    leaf = pki.node("signer-1")
    tls = client_context(leaf.ca, leaf.certificate, leaf.private_key)
    host, port = server.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, server_hostname=host)
    writer.write(b"GET /delivery/v1/server HTTP/1.1\r\nHost: ")
    first, second = [await connect(name) for name in TWO]
    ticket = control_plane.ticket(*TWO)
    waiting = first.hand_in(ticket, 0, *TWO)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            assert await reader.read(1) == b""
    writer.close()
    await asyncio.sleep(0.6)  # longer than head_seconds, which must not end what waits
    await asyncio.gather(waiting, second.hand_in(ticket, 0, *TWO))


async def test_one_address_cannot_have_more_connections_than_it_may(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(address_connections=2)
    first, second = [await connect(name) for name in TWO]
    waiting = [first.hand_in(control_plane.ticket(*TWO), 0, *TWO) for _ in range(2)]
    await server.until_held(2 * len(b"ciphertext"))
    with pytest.raises(DeliveryUnavailable):
        await second.hand_in(control_plane.ticket(*TWO), 0, *TWO)
    await release(*waiting)


async def test_one_signer_cannot_have_more_connections_than_it_may(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(signer_connections=2)
    first, second = [await connect(name) for name in TWO]
    waiting = [first.hand_in(control_plane.ticket(*TWO), 0, *TWO) for _ in range(2)]
    await server.until_held(2 * len(b"ciphertext"))
    with pytest.raises(DeliveryUnavailable, match="closed the connection"):
        await first.client.facts(SERVER)
    await second.client.facts(SERVER)
    await release(*waiting)
    await first.client.facts(SERVER)  # connections that have ended count no more


async def others_are_served(
    server: DeliveryServer, connect: Connect, control_plane: ControlPlane
) -> None:
    two: list[Party] = [await connect(name, url=server.url) for name in SIGNERS[1:]]
    ticket = control_plane.ticket(*SIGNERS[1:])
    await asyncio.gather(*(party.hand_in(ticket, 0, *SIGNERS[1:]) for party in two))


def most_resident_bytes(server: DeliveryServer) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def raw(server: Server, pki: Pki, name: str) -> aiohttp.ClientSession:
    """A TLS client that sends what it likes."""
    leaf = pki.node(name)
    tls = client_context(pki.server().ca, leaf.certificate, leaf.private_key)
    return aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(ssl=tls))


async def never() -> AsyncIterator[bytes]:
    """A body whose second part does not come."""
    yield b"x"
    await asyncio.Event().wait()
