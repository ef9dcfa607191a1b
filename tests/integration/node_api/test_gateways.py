"""A node whose way to the control plane leads through something that answers by itself."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
    pausing,
)
from custody.runtime.tls import TlsFiles
from custody.wire.node_api import ClaimRequest
from devstack.certificates import Certificates
from devstack.processes import LOCALHOST
from tests.server_in_a_thread import ServerInAThread

CLAIM = ClaimRequest(kinds=["Sign"], slots=1)
HTML = b"<html>Bad Gateway</html>"


class Gateway(ServerInAThread):
    """Gives the answers of ``queue``, one after the other."""

    name = "gateway"

    def __init__(self, certificates: Certificates) -> None:
        leaf = certificates.server("gateway")
        super().__init__(TlsFiles("gateway", leaf.certificate, leaf.private_key, is_server=True))
        self.queue: list[Response] = []
        self.asked: list[str] = []

    def application(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        return self.queue.pop(0)

    def let_go(self) -> None:
        """Nothing waits."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("gateway") / "pki")


@pytest.fixture(scope="module")
def running(pki: Certificates) -> Iterator[Gateway]:
    with Gateway(pki) as gateway:
        yield gateway


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    running.queue.clear()
    running.asked.clear()
    return running


@pytest.fixture(scope="module")
def leaf(pki: Certificates) -> Any:
    return pki.node("zurich-1")


async def claim(gateway: Gateway, leaf: Any, *answers: Response) -> Any:
    gateway.queue += answers
    url = f"https://{LOCALHOST}:{gateway.port}"
    async with ControlPlaneClient(url, leaf.client()) as client:
        return await client.claim(CLAIM)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [HTML, b"", b'{"error": 17}', b"[" * 100_000, b"\xff"])
async def test_a_gateways_answer_is_no_refusal_whatever_its_body(
    gateway: Gateway, leaf: Any, status: int, body: bytes
):
    answer = Response(body, status, headers={"Retry-After": "7"})
    with pytest.raises(ControlPlaneUnavailable, match=f"answered {status} to claim") as caught:
        await claim(gateway, leaf, answer)
    assert caught.value.retry_after == 7


async def test_a_gateways_page_without_a_length_or_an_end_is_read_as_far_as_it_says_anything(
    gateway: Gateway, leaf: Any
):
    async def without_end() -> Any:
        for _ in range(200):
            yield HTML * 1000
            await asyncio.sleep(0.05)

    with pytest.raises(ControlPlaneUnavailable, match="answered 502"):
        await claim(gateway, leaf, StreamingResponse(without_end(), 502))


async def test_a_redirect_is_not_followed(gateway: Gateway, leaf: Any):
    with pytest.raises(ControlPlaneRefused, match="answered 307"):
        await claim(gateway, leaf, Response(status_code=307, headers={"Location": "/elsewhere"}))
    assert gateway.asked == ["/node/v1/claim"]


async def test_an_answer_may_come_in_pieces(gateway: Gateway, leaf: Any):
    async def pieces() -> Any:
        for piece in (b'{"jobs"', b": []}"):
            yield piece

    assert (await claim(gateway, leaf, StreamingResponse(pieces()))).jobs == []


async def test_half_an_answer_is_none(gateway: Gateway, leaf: Any):
    with pytest.raises(ControlPlaneUnavailable):
        await claim(gateway, leaf, Response(b'{"jobs"', headers={"Content-Length": "30"}))


async def test_a_page_with_status_200_is_refused_by_name(gateway: Gateway, leaf: Any):
    with pytest.raises(ControlPlaneRefused, match="not a ClaimResponse"):
        await claim(gateway, leaf, Response(HTML, media_type="text/html"))


@pytest.mark.parametrize(("asked", "seconds"), [(None, 0.2), (4.0, 4.0), (3600.0, 10.0)])
def test_a_pause_is_as_long_as_was_asked_for_up_to_the_longest(asked: float | None, seconds: float):
    error = ControlPlaneUnavailable("busy", asked)
    state = SimpleNamespace(attempt_number=1, outcome=SimpleNamespace(exception=lambda: error))
    wait = pausing(0.2, 10.0)(cast(Any, state))
    assert seconds <= wait <= min(10.0, max(seconds, 0.2 + 1))
