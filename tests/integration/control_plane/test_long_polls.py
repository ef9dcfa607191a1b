"""Requests that are held open: so many of a token, and so many in all."""

import asyncio

import httpx
import pytest

from control_plane.api.long_polls import LongPolls
from control_plane.settings import LongPollsSection
from daemon import listener
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

WALLET = {"network": "Ethereum", "store": "hsm"}


@pytest.fixture
async def limited(replica: Replica, node: MemoryNode):
    """The API with room for two long polls of a token and three in all."""
    app = LongPolls(replica.application, LongPollsSection(total=3, of_token=2))
    serving = listener.Listener(listener.config(app, "127.0.0.1", 0))
    replica.url = f"http://127.0.0.1:{await serving.start()}"
    yield replica
    await serving.stop()


async def test_a_token_has_so_many_and_all_have_so_many(limited: Replica):
    one, other = [limited.client((await limited.token(application=a)).text) for a in ("a", "b")]

    def poll(client: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(client.post("/v1/wallets?wait=30", json=WALLET))

    held = [poll(one), poll(one)]
    while len((await one.get("/v1/wallets")).json()["items"]) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    refused = await one.post("/v1/wallets?wait=30", json=WALLET)
    assert_problem(refused, 429, "too_many_waits")
    assert int(refused.headers["retry-after"]) > 0
    assert len((await one.get("/v1/wallets")).json()["items"]) == 2  # nothing was begun
    assert (await one.post("/v1/wallets?wait=0", json=WALLET)).status_code == 201
    held.append(poll(other))
    while not (await other.get("/v1/wallets")).json()["items"]:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert_problem(await other.get("/v1/wallets?wait=1"), 429, "too_many_waits")
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_one_that_ended_makes_room(limited: Replica):
    api = limited.client((await limited.token()).text)
    for _ in range(4):
        assert (await api.post("/v1/wallets?wait=0.05", json=WALLET)).status_code == 201
    assert_problem(await api.post("/v1/wallets?wait=soon", json=WALLET), 422, "invalid_request")
    assert_problem(await api.post("/v1/wallets?wait=nan", json=WALLET), 422, "invalid_request")
