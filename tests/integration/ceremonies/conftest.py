"""Signers with a key in use, new for each test: databases are copies of those of the first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
import uvloop

from custody.wire.algorithms import Algorithm, Network
from devstack.postgres import Cluster
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import (
    NAMES,
    Organisation,
    Parties,
    pin_each_other,
    running,
)

Start = Callable[..., Awaitable[Parties]]
WithKey = Callable[..., Awaitable[tuple[Parties, Key]]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that daemons run on: its TLS is not the standard library's."""
    return {"uvloop": uvloop.new_event_loop}


class Templates:
    """Databases to copy, of signers that have pinned each other, some with a key in use."""

    def __init__(self, cluster: Cluster, empty: str, organisation: Organisation) -> None:
        self._cluster = cluster
        self._empty = empty
        self._organisation = organisation
        self._made: dict[object, tuple[Key | None, dict[str, str]]] = {}
        self._numbers = count()

    def get(
        self, wanted: Key | None, signers: int, of: object
    ) -> tuple[Key | None, dict[str, str]]:
        """The key, and template databases by signer; made when it is asked for first."""
        if of not in self._made:
            with ThreadPoolExecutor(1) as thread:
                made = self._make(wanted, NAMES[:signers])
                self._made[of] = thread.submit(uvloop.run, made).result()
        return self._made[of]

    async def _make(
        self, wanted: Key | None, names: tuple[str, ...]
    ) -> tuple[Key | None, dict[str, str]]:
        number = next(self._numbers)
        templates = {name: f"template_{number}_{name.replace('-', '_')}" for name in names}
        databases = {
            name: self._cluster.create_database(template, self._empty)
            for name, template in templates.items()
        }
        async with running(self._organisation, databases) as parties:
            await pin_each_other(self._organisation, parties)
            key = None if wanted is None else await parties.make_key(wanted)
        return key, templates

    def copies(self, templates: dict[str, str]) -> dict[str, str]:
        number = next(self._numbers)
        return {
            name: self._cluster.create_database(f"{template}_{number}", template)
            for name, template in templates.items()
        }

    def drop(self, databases: dict[str, str]) -> None:
        for url in databases.values():
            self._cluster.drop_database(url.rpartition("/")[2])


@pytest.fixture(scope="package")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisation]:
    organisation = Organisation(tmp_path_factory.mktemp("organisation"))
    organisation.server.start()
    yield organisation
    organisation.server.kill()  # it keeps nothing that would have to end well


@pytest.fixture(scope="package")
def templates(postgres: Cluster, signer_template: str, organisation: Organisation) -> Templates:
    return Templates(postgres, signer_template, organisation)


@pytest.fixture
async def with_key(templates: Templates, organisation: Organisation) -> AsyncIterator[WithKey]:
    """Starts n signers with a key in use, t of n. What more is given, ``running`` gets."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            algorithm: Algorithm,
            threshold: int = 2,
            signers: int = 3,
            network: Network | None = None,
            **more: Any,
        ) -> tuple[Parties, Key]:
            wanted = Key(algorithm, threshold, NAMES[:signers], network)
            key, made = templates.get(wanted, signers, (algorithm, threshold, signers, network))
            assert key is not None
            databases = templates.copies(made)
            stack.callback(templates.drop, databases)
            parties = await stack.enter_async_context(running(organisation, databases, **more))
            return parties, key

        yield start


@pytest.fixture
async def start(templates: Templates, organisation: Organisation) -> AsyncIterator[Start]:
    """Starts n signers that have pinned each other, and have no keys."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(signers: int = 3, **more: Any) -> Parties:
            _, made = templates.get(None, signers, signers)
            databases = templates.copies(made)
            stack.callback(templates.drop, databases)
            return await stack.enter_async_context(running(organisation, databases, **more))

        yield start
