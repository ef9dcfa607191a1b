"""One whole stack for all acceptance tests: two replicas, two drivers of one group."""

import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TypedDict

import httpx
import pytest

from custody.client import AsyncCustody, Curve, Custody, Key, Scheme
from custody.runtime.tls import client_context
from custody.wire.algorithms import MAIN_NETWORKS
from devstack.stack import Stack, StackOptions


class RawOptions(TypedDict):
    """What both of httpx's clients take."""

    base_url: str
    headers: dict[str, str]
    verify: ssl.SSLContext
    trust_env: bool
    timeout: float


BARE_KEYS = {
    "ECDSA secp256k1": (Scheme.ECDSA, Curve.SECP256K1),
    "ECDSA secp256r1": (Scheme.ECDSA, Curve.SECP256R1),
    "EdDSA ed25519": (Scheme.EDDSA, Curve.ED25519),
}
KEYS = [*(network.value for network in MAIN_NETWORKS), *BARE_KEYS]


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = StackOptions(replicas=2, drivers=2, durable=False)
    with Stack(tmp_path_factory.mktemp("stack"), options) as stack:
        yield stack


@pytest.fixture(scope="package")
def custody(stack: Stack) -> Iterator[Custody]:
    with stack.client() as custody:
        yield custody


@pytest.fixture
async def async_custody(stack: Stack) -> AsyncIterator[AsyncCustody]:
    async with stack.async_client() as custody:
        yield custody


@pytest.fixture(scope="package")
def keys(custody: Custody) -> dict[str, Key]:
    """An active key of every kind: each main network's wallet's, and each bare one."""
    made = {
        network.value: custody.get_key(custody.create_wallet(network).key_id)
        for network in MAIN_NETWORKS
    }
    return made | {name: custody.create_key(*of) for name, of in BARE_KEYS.items()}


def raw_options(stack: Stack, token: str | None, replica: int) -> RawOptions:
    return RawOptions(
        base_url=stack.control_planes[replica].url,
        headers={"authorization": f"Bearer {token or stack.api_token}"},
        verify=client_context(stack.ca),
        trust_env=False,
        timeout=60,
    )


def raw_client(stack: Stack, token: str | None = None, replica: int = 0) -> httpx.Client:
    """HTTP as an application without our library would speak it."""
    return httpx.Client(**raw_options(stack, token, replica))


def async_raw_client(stack: Stack) -> httpx.AsyncClient:
    return httpx.AsyncClient(**raw_options(stack, None, 0))


@pytest.fixture(scope="package")
def api(stack: Stack) -> Iterator[httpx.Client]:
    with raw_client(stack) as client:
        yield client
