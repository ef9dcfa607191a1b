"""A kept connection carries no further request to a server that is not trusted any more."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp
import httpx
import pytest

from custody.runtime.live_tls import LiveTls
from devstack.certificates import Certificates, Leaf
from tests.integration.tls.conftest import (
    Connect,
    Serve,
    expire,
    server_files,
    watch,
    write_crl,
)


@pytest.fixture
def crl(tmp_path: Path, pki: Certificates) -> Path:
    """A list without an entry."""
    path = tmp_path / "crl.pem"
    write_crl(path, pki)
    return path


async def test_not_on_a_connection_of_httpx(
    serve: Serve, pki: Certificates, crl: Path, servers: list[Leaf], node: Leaf
):
    served = await serve(server_files(servers[0]))
    tls = LiveTls(replace(node.client(), crl=crl))
    async with httpx.AsyncClient(verify=tls.context, trust_env=False) as client:
        assert (await client.get(served.url)).json() == {"node": "node-1"}
        write_crl(crl, pki, [servers[0]], number=2)
        await watch(tls).refresh()
        with pytest.raises((httpx.TransportError, ssl.SSLError), match="was revoked at"):
            await client.get(served.url)
    assert served.requests == 1


async def test_not_on_a_blocking_connection(
    serve: Serve, pki: Certificates, crl: Path, servers: list[Leaf], node: Leaf
):
    served = await serve(server_files(servers[0]))
    tls = LiveTls(replace(node.client(), crl=crl))
    with httpx.Client(verify=tls.context, trust_env=False) as client:
        first = await asyncio.to_thread(client.get, served.url)
        assert first.json() == {"node": "node-1"}
        write_crl(crl, pki, [servers[0]], number=2)
        await watch(tls).refresh()
        with pytest.raises((httpx.TransportError, ssl.SSLError), match="was revoked at"):
            await asyncio.to_thread(client.get, served.url)
    assert served.requests == 1


async def test_not_on_a_connection_of_our_nodes_after_the_list_has_expired(
    serve: Serve,
    connect: Connect,
    crl: Path,
    servers: list[Leaf],
    node: Leaf,
    monkeypatch: pytest.MonkeyPatch,
):
    """A list that expires changes no file, so the client keeps its context and its connection."""
    served = await serve(server_files(servers[0]))
    client = connect(replace(node.client(), crl=crl))
    assert await client.get(served.url) == {"node": "node-1"}
    expire(client.tls, monkeypatch)
    with pytest.raises(aiohttp.ClientError):
        await client.get(served.url)
    assert served.requests == 1


async def test_a_connection_stays_open_while_the_server_is_trusted(
    serve: Serve, pki: Certificates, crl: Path, servers: list[Leaf], node: Leaf, other_node: Leaf
):
    served = await serve(server_files(servers[0]))
    tls = LiveTls(replace(node.client(), crl=crl))
    async with httpx.AsyncClient(verify=tls.context, trust_env=False) as client:
        before = local_address(await client.get(served.url))
        write_crl(crl, pki, [other_node], number=2)
        await watch(tls).refresh()
        assert local_address(await client.get(served.url)) == before
    assert served.requests == 2


def local_address(answer: httpx.Response) -> tuple[str, int]:
    """Return the client's end of the connection, whose port each new connection changes."""
    address: tuple[str, int] = answer.extensions["network_stream"].get_extra_info("client_addr")
    return address
