"""A revoked certificate is refused at the handshake, and on an open connection at once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from custody.runtime.certificate_settings import CertificatesSection
from custody.runtime.checks import Status, certificate_checks
from custody.runtime.errors import ConfigurationError
from custody.runtime.live_tls import LiveTls
from devstack.certificates import Certificates, Leaf
from tests.integration.tls.conftest import Connect, Serve, server_files, watch, write_crl
from tests.waiting import until


@pytest.fixture
def crl(tmp_path: Path, pki: Certificates) -> Path:
    """A list without an entry."""
    path = tmp_path / "crl.pem"
    write_crl(path, pki)
    return path


async def test_a_revoked_node_loses_its_long_poll_and_others_do_not(
    serve: Serve,
    connect: Connect,
    pki: Certificates,
    crl: Path,
    servers: list[Leaf],
    node: Leaf,
    other_node: Leaf,
):
    served = await serve(server_files(servers[0], crl))
    revoked, good = connect(node.client()), connect(other_node.client())
    polls = [asyncio.create_task(each.get(served.url + "/wait")) for each in (revoked, good)]
    await until(lambda: served.waiting == 2)
    write_crl(crl, pki, [node], number=2)
    await watch(served.tls).refresh()
    with pytest.raises(aiohttp.ClientError):
        await polls[0]
    await until(lambda: served.cut == 1)
    with pytest.raises(aiohttp.ClientError):
        await connect(node.client()).get(served.url)
    served.released.set()
    assert await polls[1] == {"node": "node-2"}


async def test_a_connection_is_checked_again_when_it_sends(
    serve: Serve,
    connect: Connect,
    pki: Certificates,
    crl: Path,
    servers: list[Leaf],
    node: Leaf,
    monkeypatch: pytest.MonkeyPatch,
):
    """The cut of open connections is not what the check of a request relies on."""
    served, client = await serve(server_files(servers[0], crl)), connect(node.client())
    assert await client.get(served.url) == {"node": "node-1"}
    monkeypatch.setattr(served.tls, "_subscribers", [])
    write_crl(crl, pki, [node], number=2)
    await watch(served.tls).refresh()
    with pytest.raises(aiohttp.ClientError):
        await client.get(served.url)


async def test_a_client_refuses_a_revoked_server(
    serve: Serve,
    connect: Connect,
    pki: Certificates,
    crl: Path,
    servers: list[Leaf],
    node: Leaf,
):
    served = await serve(server_files(servers[0]))
    client = connect(replace(node.client(), crl=crl))
    assert await client.get(served.url) == {"node": "node-1"}
    poll = asyncio.create_task(client.get(served.url + "/wait"))
    await until(lambda: served.waiting)
    write_crl(crl, pki, [servers[0]], number=2)
    await watch(client.tls).refresh()
    with pytest.raises(aiohttp.ClientConnectorCertificateError, match="was revoked at"):
        await client.get(served.url)
    served.released.set()
    with pytest.raises(aiohttp.ClientError):  # an answer that came later counts for nothing
        await poll


async def test_an_expired_list_refuses_all_until_there_is_a_new_one(
    serve: Serve, connect: Connect, pki: Certificates, crl: Path, servers: list[Leaf], node: Leaf
):
    served = await serve(server_files(servers[0], crl))
    poll = asyncio.create_task(connect(node.client()).get(served.url + "/wait"))
    await until(lambda: served.waiting)
    watching = watch(served.tls)
    write_crl(crl, pki, number=2, until=timedelta(seconds=-1))
    await watching.refresh()
    assert "the CRL of CN=Custody local intermediate ended at" in str(watching.problem())
    with pytest.raises(aiohttp.ClientError):
        await poll
    with pytest.raises(aiohttp.ClientError):
        await connect(node.client()).get(served.url)
    write_crl(crl, pki, number=3)
    await watching.refresh()
    assert await connect(node.client()).get(served.url) == {"node": "node-1"}
    assert watching.problem() is None


async def test_a_list_that_expires_while_it_is_in_use_ends_open_connections(
    serve: Serve, connect: Connect, crl: Path, servers: list[Leaf], node: Leaf
):
    served = await serve(server_files(servers[0], crl))
    before = served.tls.trust_generation
    [in_use] = served.tls.loaded.crls
    served.tls.notice_time(in_use.next_update - timedelta(seconds=1))
    assert served.tls.trust_generation == before
    served.tls.notice_time(in_use.next_update)
    assert served.tls.trust_generation == before + 1


async def test_a_list_of_another_issuer_proves_nothing(
    serve: Serve,
    connect: Connect,
    crl: Path,
    other_pki: Certificates,
    servers: list[Leaf],
    node: Leaf,
):
    write_crl(crl, other_pki)
    served = await serve(server_files(servers[0], crl))
    with pytest.raises(aiohttp.ClientError):
        await connect(node.client()).get(served.url)


def damage(crl: Path, content: bytes | None) -> None:
    crl.unlink()
    if content is not None:
        crl.write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"hello", None])
async def test_an_unusable_list_stops_a_start_and_no_running_daemon(
    serve: Serve, crl: Path, servers: list[Leaf], content: bytes | None
):
    files = server_files(servers[0], crl)
    served = await serve(files)
    damage(crl, content)
    with pytest.raises(ConfigurationError):
        LiveTls(files)
    watching = watch(served.tls)
    await watching.refresh()
    assert str(crl) in str(watching.problem())
    assert len(served.tls.loaded.crls) == 1


async def test_a_host_says_that_its_own_certificate_is_revoked(
    pki: Certificates, crl: Path, node: Leaf, other_node: Leaf
):
    files = replace(node.client("control_plane"), crl=crl)
    for revoked, is_own in (([other_node], False), ([node], True)):
        write_crl(crl, pki, revoked)
        [check] = certificate_checks([files], CertificatesSection(), "renew it")
        problem = watch(LiveTls(files)).problem()
        if is_own:
            assert check.status is Status.FAIL
            assert "CN=node-1 was revoked at" in check.detail
            assert "CN=node-1 was revoked at" in str(problem)
        else:
            assert (check.status, problem) == (Status.OK, None)
