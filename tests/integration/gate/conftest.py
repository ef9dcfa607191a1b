"""A gate behind real TLS, a client of it, and a database for what it decides."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.database.pool import Pool
from custody.node.settings import GateSection
from custody.runtime.configuration import write_secret
from devstack.certificates import Certificates, Leaf
from tests.played_gate import PlayedGate


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates") / "pki")


@pytest.fixture(scope="session")
def gate_leaf(certificates: Certificates) -> Leaf:
    return certificates.server("gate")


@pytest.fixture
def played(gate_leaf: Leaf) -> Iterator[PlayedGate]:
    with PlayedGate(gate_leaf) as played:
        yield played


@pytest.fixture
def hmac_key() -> bytes:
    return secrets.token_hex(32).encode()


@pytest.fixture
def hmac_key_file(tmp_path: Path, hmac_key: bytes) -> Path:
    path = tmp_path / "gate-hmac.key"
    write_secret(path, hmac_key + b"\n")
    return path


@pytest.fixture
def section(played: PlayedGate, gate_leaf: Leaf, hmac_key_file: Path) -> GateSection:
    return gate_section(played.url, gate_leaf.ca, hmac_key_file)


def gate_section(url: str, ca: Path, hmac_key_file: Path, **changes: Any) -> GateSection:
    return GateSection(url=url, ca=ca, hmac_key_file=hmac_key_file, **changes)


@pytest.fixture
async def pool(driver_database: str) -> AsyncIterator[Pool]:
    async with Pool(driver_database, 8, "test") as pool:
        yield pool
