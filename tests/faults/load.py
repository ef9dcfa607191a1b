"""Applications that keep requests in flight, and remember every byte that they were told."""

import asyncio
import contextlib
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID, uuid4

import httpx
import psycopg

from custody.client import Key, Signature, Wallet
from custody.runtime.tls import client_context
from custody.wire.algorithms import MAIN_NETWORKS, Curve, HashFunction, Scheme
from devstack.stack import Stack
from tests.second_opinion import Wanted, check_key, check_signature, check_wallet

FINAL = {"Signed", "Active", "Rejected", "Failed"}
PAUSE = 0.1
WALLET_EVERY = 5
"""One request in so many makes a wallet; the others sign."""


@dataclass
class Asked:
    """One request, and every answer that was final when it was read."""

    path: str
    body: dict[str, Any]
    key: str | None = None
    wanted: Wanted | None = None
    location: str | None = None
    final: list[bytes] = field(default_factory=list)

    @property
    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.final[0])
        return answer


class Load:
    """``clients`` at once, each with one request in flight for as long as the load runs.

    Whatever fails on the way is sent again with the same external id, as our client library does.
    """

    def __init__(self, stack: Stack, clients: int = 8) -> None:
        self._stack = stack
        self._urls = [replica.url for replica in stack.control_planes]
        self._clients = clients
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._wanted = random.Random(20260301)
        self.asked: list[Asked] = []
        self.keys: dict[str, Key] = {}
        self.unavailable = 0
        """How many answers were a problem with a status of 503, or none at all."""

    async def __aenter__(self) -> "Load":
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {self._stack.api_token}"},
            verify=client_context(self._stack.ca),
            trust_env=False,
            timeout=httpx.Timeout(45, connect=5),
        )
        await self._make_keys()
        self._tasks = [asyncio.create_task(self._client(n)) for n in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        try:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await self._http.aclose()

    async def finish(self, timeout: float = 120) -> None:
        """Ask for nothing new, and wait until everything that was asked for is final."""
        self._stop.set()
        async with asyncio.timeout(timeout):
            await asyncio.gather(*self._tasks)

    @property
    def done(self) -> int:
        return sum(bool(asked.final) for asked in self.asked)

    async def wait_for(self, more: int, timeout: float = 60) -> float:
        """Wait until so many more requests are final; returns the seconds that it took."""
        goal, began = self.done + more, time.monotonic()
        async with asyncio.timeout(timeout):
            while self.done < goal:
                self.check()
                await asyncio.sleep(0.02)
        return time.monotonic() - began

    def check(self) -> None:
        """Raise what ended a client before its time."""
        for task in self._tasks:
            if task.done() and not self._stop.is_set():
                task.result()

    # Clients

    async def _make_keys(self) -> None:
        async with self._stack.async_client() as custody:
            for network in MAIN_NETWORKS:
                wallet = await custody.create_wallet(network)
                self.keys[network.value] = await custody.get_key(wallet.key_id)
            p256 = await custody.create_key(Scheme.ECDSA, Curve.SECP256R1)
            self.keys["P-256"] = p256

    async def _client(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            asked = self._next(f"load-{number}-{turn}-{uuid4()}", (number + turn) % WALLET_EVERY)
            self.asked.append(asked)
            await self._see_through(asked)
            if asked.path == "/v1/wallets":
                assert asked.answer["status"] == "Active", asked.answer
                await self._check_row(UUID(asked.answer["key_id"]))
            await self._read_again(self._wanted.choice(self.asked))

    def _next(self, external_id: str, turn: int) -> Asked:
        if turn == 0:
            network = self._wanted.choice(MAIN_NETWORKS)
            body = {"network": network.value, "store": "hsm", "external_id": external_id}
            return Asked("/v1/wallets", body)
        name, key = self._wanted.choice(list(self.keys.items()))
        function = HashFunction.SHA_256 if name == "P-256" else None
        wanted = Wanted("Message", external_id.encode(), function)
        return Asked(
            f"/v1/keys/{key.id}/signatures", wanted.body(external_id), key=name, wanted=wanted
        )

    async def _see_through(self, asked: Asked) -> None:
        while asked.location is None:
            answer = await self._send("POST", asked.path + "?wait=30", asked.body)
            if answer is not None:
                self._take(asked, answer)
        while not asked.final:
            answer = await self._send("GET", asked.location + "?wait=30")
            if answer is not None:
                self._take(asked, answer)

    async def _read_again(self, asked: Asked) -> None:
        if asked.final and asked.location is not None:
            answer = await self._send("GET", asked.location)
            if answer is not None:
                self._take(asked, answer)

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> httpx.Response | None:
        """None when the service was away: the caller tries again."""
        url = self._wanted.choice(self._urls) + path
        try:
            answer = await self._http.request(method, url, json=body)
        except httpx.TransportError:
            answer = None
        if answer is None or answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            self.unavailable += 1
            await asyncio.sleep(PAUSE)
            return None
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer

    def _take(self, asked: Asked, answer: httpx.Response) -> None:
        said = answer.json()
        asked.location = f"{asked.path}/{said['id']}"
        if said["status"] in FINAL:
            asked.final.append(answer.content)

    async def _check_row(self, key_id: UUID) -> None:
        """A key that the API shows as Active has its row in the driver's database by then."""
        with contextlib.suppress(psycopg.OperationalError):  # the database may be away
            connection = await psycopg.AsyncConnection.connect(
                self._stack.databases.driver, autocommit=True, connect_timeout=5
            )
            async with connection:
                found = await connection.execute(
                    "SELECT FROM wrapped_keys WHERE key_id = %s", [key_id]
                )
                assert found.rowcount == 1, f"key {key_id} was Active without its row"

    # Afterwards

    async def read_everything_again(self) -> None:
        for asked in self.asked:
            before = len(asked.final)
            while len(asked.final) == before:
                await self._read_again(asked)

    async def check_results(self) -> None:
        """Every request ended with one result, good to other libraries, the same at each read."""
        await self.read_everything_again()
        for asked in self.asked:
            assert len(set(asked.final)) == 1, asked.final
            if asked.wanted is not None and asked.key is not None:
                signature = Signature.model_validate_json(asked.final[0])
                check_signature(self.keys[asked.key], asked.wanted, signature)
            else:
                await self._check_wallet(Wallet.model_validate_json(asked.final[0]))

    async def _check_wallet(self, wallet: Wallet) -> None:
        answer = await self._send("GET", f"/v1/keys/{wallet.key_id}")
        assert answer is not None
        key = Key.model_validate_json(answer.content)
        check_key(key)
        check_wallet(wallet, key)


def check_databases(stack: Stack, loads: list[Load]) -> None:
    """Both sides agree: one outcome a request, the same bytes, and one row for each key."""
    jobs = pairs(stack.databases.control_plane, "SELECT id, outcome FROM jobs")
    keys = pairs(stack.databases.control_plane, "SELECT id, public_key FROM keys")
    journal = pairs(stack.databases.driver, "SELECT job_id, outcome FROM journal")
    rows = pairs(stack.databases.driver, "SELECT key_id, public_key FROM wrapped_keys")
    assert len(jobs) == sum(len(load.asked) + len(load.keys) for load in loads)
    assert journal == jobs
    assert rows == keys


def pairs(url: str, query: LiteralString) -> dict[UUID, bytes]:
    with psycopg.connect(url) as connection:
        return {row[0]: row[1] for row in connection.execute(query)}
