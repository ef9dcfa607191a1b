"""Requests that are held open: so many of a token, and so many in all."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from custody.control_plane.api.long_polls import LongPolls
from custody.control_plane.settings import LongPollsSection
from custody.runtime import listener
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


def client_of(app: LongPolls) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def answered(
    query: str, token: str = "Bearer one", limits: LongPollsSection | None = None
) -> int:
    """The status of a request while ``Bearer one`` has one held open: the only one, by default."""
    held, release = asyncio.Event(), asyncio.Event()

    async def endpoint(request: Request) -> Response:
        if not held.is_set():
            held.set()
            await release.wait()
        return Response()

    app = Starlette(routes=[Route("/", endpoint)])
    limited = LongPolls(app, limits or LongPollsSection(total=1, of_token=1))
    async with client_of(limited) as client:
        first = {"authorization": "Bearer one"}
        waiting = asyncio.create_task(client.get("/?wait=60", headers=first))
        await held.wait()
        answer = await client.get(f"/?{query}", headers={"authorization": token})
        release.set()
        assert (await waiting).status_code == 200
    return answer.status_code


async def test_a_token_has_so_many_and_all_have_so_many(limited: Replica, node: MemoryNode):
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
    await node.work()
    assert [answer.status_code for answer in await asyncio.gather(*held)] == [201] * 3


@pytest.mark.parametrize(
    "query", ["%77ait=60", "w%61it=60", "wait=6e1", "wait=%36%30", "a&wait=60"]
)
async def test_however_it_is_written_it_is_counted(query: str):
    assert await answered(query) == 429


@pytest.mark.parametrize("query", ["wait=x&wait=60", "wait=60&wait=0", "wait=0&%77ait=60"])
async def test_one_of_several_values_is_counted(query: str):
    assert await answered(query) == 429


@pytest.mark.parametrize("query", ["", "wait=0", "wait=0.0", "wai=60", "wait%3D60", "x=wait%3D60"])
async def test_what_does_not_wait_is_not_counted(query: str):
    assert await answered(query) == 200


@pytest.mark.parametrize("again", ["bearer one", "Bearer  one", "BEARER one "])
async def test_a_token_is_the_same_however_it_is_written(again: str):
    assert await answered("wait=60", again, LongPollsSection(total=3, of_token=1)) == 429


async def test_another_token_has_room():
    assert await answered("wait=60", "Bearer two", LongPollsSection(total=3, of_token=1)) == 200


@pytest.mark.parametrize("sent", [[], ["Bearer one", "Bearer two"], ["Basic one"], ["Bearer "]])
async def test_what_has_not_one_token_is_not_held_open(sent: list[str]):
    app = Starlette(routes=[Route("/", lambda _: Response())])
    headers = [("authorization", each) for each in sent]
    async with client_of(LongPolls(app, LongPollsSection())) as client:
        assert_problem(await client.get("/?wait=60", headers=headers), 401, "unauthenticated")


async def test_a_parameter_that_is_sent_twice_is_refused(limited: Replica):
    api = limited.client((await limited.token()).text)
    assert_problem(await api.post("/v1/wallets?wait=0&wait=0", json=WALLET), 422, "invalid_request")
    for query in ("wait=x&wait=60", "limit=1&limit=2", "cursor=a&%63ursor=b"):
        assert_problem(await api.get(f"/v1/wallets?{query}"), 422, "invalid_request")
    assert (await api.get("/v1/wallets")).json()["items"] == []


async def test_two_tokens_are_refused(limited: Replica):
    api = limited.client((await limited.token()).text)
    headers = [("authorization", api.headers["authorization"])] * 2
    async with httpx.AsyncClient(base_url=limited.url) as client:
        answer = await client.get("/v1/wallets", headers=headers)
    assert_problem(answer, 401, "unauthenticated")


async def test_one_that_ended_makes_room(limited: Replica):
    api = limited.client((await limited.token()).text)
    for _ in range(4):
        assert (await api.post("/v1/wallets?wait=0.05", json=WALLET)).status_code == 201
    assert_problem(await api.post("/v1/wallets?wait=soon", json=WALLET), 422, "invalid_request")
    assert_problem(await api.post("/v1/wallets?wait=nan", json=WALLET), 422, "invalid_request")
