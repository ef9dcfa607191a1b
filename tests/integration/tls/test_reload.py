"""Changed TLS files are taken up for new connections; unusable ones never are."""

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import aiohttp
import pytest

from custody.pki import certificates
from custody.runtime.errors import ConfigurationError
from devstack.certificates import Certificates, Leaf
from tests.integration.tls.conftest import (
    Connect,
    Serve,
    copy_of,
    renew,
    serial,
    server_files,
    watch,
)
from tests.waiting import until


@pytest.fixture
def mine(servers: list[Leaf], tmp_path: Path) -> Leaf:
    """The files of the server, which a test may change."""
    return copy_of(servers[0], tmp_path / "server")


async def test_a_renewed_certificate_is_shown_at_the_next_handshake(
    serve: Serve, connect: Connect, node: Leaf, mine: Leaf, servers: list[Leaf]
):
    served, client = await serve(server_files(mine)), connect(node.client())
    old = asyncio.create_task(client.get(served.url + "/wait"))
    await until(lambda: served.waiting)
    renew(mine, servers[1])
    await watch(served.tls).refresh()
    fresh = connect(node.client())
    assert await fresh.get(served.url) == {"node": "node-1"}
    assert await fresh.shown(served) == serial(servers[1].certificate)
    served.released.set()
    assert await old == {"node": "node-1"}, "the request of before was lost"


async def test_a_client_shows_its_renewed_certificate_at_the_next_request(
    serve: Serve, connect: Connect, pki: Certificates, mine: Leaf, tmp_path: Path
):
    before = copy_of(pki.node("driver-9"), tmp_path / "driver-9")
    served, client = await serve(server_files(mine)), connect(before.client())
    assert await client.get(served.url) == {"node": "driver-9"}
    renew(before, pki.node("driver-10"))
    await watch(client.tls).refresh()
    assert await client.get(served.url) == {"node": "driver-10"}


async def test_a_half_written_pair_is_not_taken(
    serve: Serve, connect: Connect, node: Leaf, mine: Leaf, servers: list[Leaf]
):
    served = await serve(server_files(mine))
    watching = watch(served.tls)
    mine.certificate.write_bytes(servers[1].certificate.read_bytes())
    await watching.refresh()
    assert "does not belong to the certificate" in str(watching.problem())
    assert await connect(node.client()).shown(served) == serial(servers[0].certificate)
    mine.private_key.write_bytes(servers[1].private_key.read_bytes())
    await watching.refresh()
    assert watching.problem() is None
    assert served.tls.loaded.chain[0].serial_number == serial(servers[1].certificate)


async def test_files_that_come_back_are_no_problem_any_more(serve: Serve, mine: Leaf):
    served = await serve(server_files(mine))
    watching = watch(served.tls)
    moved = mine.certificate.with_suffix(".moved")
    mine.certificate.rename(moved)
    await watching.refresh()
    assert "No such file" in str(watching.problem())
    moved.rename(mine.certificate)
    await watching.refresh()
    assert watching.problem() is None


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nMIIB"])
async def test_what_is_no_certificate_is_not_taken(serve: Serve, mine: Leaf, content: bytes):
    served = await serve(server_files(mine))
    watching, before = watch(served.tls), served.tls.context
    for path in (mine.certificate, mine.ca):
        kept = path.read_bytes()
        path.write_bytes(content)
        await watching.refresh()
        assert served.tls.context is before
        assert watching.problem() is not None
        path.write_bytes(kept)
    await watching.refresh()
    assert watching.problem() is None


async def test_an_expired_certificate_is_not_taken(serve: Serve, mine: Leaf, pki: Certificates):
    served = await serve(server_files(mine))
    watching, before = watch(served.tls), served.tls.context
    with patch.object(certificates, "_until", lambda *_: datetime.now(UTC) - timedelta(seconds=1)):
        expired = pki.server("expired")
    renew(mine, expired)
    await watching.refresh()
    assert served.tls.context is before
    assert "expired at" in str(watching.problem())


async def test_a_certificate_that_fails_the_uses_own_check_is_not_taken(
    connect: Connect, node: Leaf, other_node: Leaf, tmp_path: Path
):
    def check(path: Path) -> None:
        if serial(path) != serial(node.certificate):
            raise ConfigurationError("it is of another node", "Take this node's.")

    mine = copy_of(node, tmp_path / "node")
    client = connect(replace(mine.client(), check=check))
    watching = watch(client.tls)
    renew(mine, other_node)
    await watching.refresh()
    assert "it is of another node" in str(watching.problem())


async def test_a_link_that_is_moved_is_seen(serve: Serve, servers: list[Leaf], tmp_path: Path):
    folders = [copy_of(leaf, tmp_path / f"release-{n}") for n, leaf in enumerate(servers)]
    link, new = tmp_path / "current", tmp_path / "next"
    link.symlink_to(folders[0].certificate.parent)
    served = await serve(server_files(Leaf.of(link)))
    new.symlink_to(folders[1].certificate.parent)
    new.replace(link)
    await watch(served.tls).refresh()
    assert served.tls.loaded.chain[0].serial_number == serial(servers[1].certificate)


async def test_files_that_change_while_they_are_read_are_read_again(mine: Leaf, serve: Serve):
    served = await serve(server_files(mine))
    load = served.tls._load

    def load_and_touch() -> object:
        loaded = load()
        os.utime(mine.ca)
        return loaded

    os.utime(mine.certificate)
    with patch.object(served.tls, "_load", load_and_touch):
        assert served.tls.read() is None
    assert served.tls.read() is not None


async def test_a_root_that_is_taken_away_ends_connections_and_refuses_new_ones(
    serve: Serve,
    connect: Connect,
    node: Leaf,
    mine: Leaf,
    pki: Certificates,
    other_pki: Certificates,
):
    mine.ca.write_bytes(pki.ca.read_bytes() + other_pki.ca.read_bytes())
    served = await serve(server_files(mine))
    stranger = replace(other_pki.node("node-3").client(), ca=pki.ca)
    clients = {"kept": connect(node.client()), "removed": connect(stranger)}
    waiting = {
        name: asyncio.create_task(each.get(served.url + "/wait")) for name, each in clients.items()
    }
    await until(lambda: served.waiting == 2)
    mine.ca.write_bytes(pki.ca.read_bytes())
    await watch(served.tls).refresh()
    with pytest.raises(aiohttp.ClientError):
        await waiting["removed"]
    await until(lambda: served.cut == 1)
    with pytest.raises(aiohttp.ClientError):
        await connect(stranger).get(served.url)
    served.released.set()
    assert await waiting["kept"] == {"node": "node-1"}


async def test_a_root_that_is_added_lets_its_nodes_in(
    serve: Serve, connect: Connect, mine: Leaf, pki: Certificates, other_pki: Certificates
):
    served = await serve(server_files(mine))
    stranger = replace(other_pki.node("node-4").client(), ca=pki.ca)
    with pytest.raises(aiohttp.ClientError):
        await connect(stranger).get(served.url)
    mine.ca.write_bytes(pki.ca.read_bytes() + other_pki.ca.read_bytes())
    await watch(served.tls).refresh()
    assert await connect(stranger).get(served.url) == {"node": "node-4"}
