from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from custody.database.pool import Pool
from custody.node.audit import AuditChain
from custody.node.journal import Journal
from custody.wire.signed_bytes import SigningKey
from hsm_driver.cli import app
from hsm_driver.configuration import NewDriver, new_configuration
from tests.engines import create_engine


@dataclass
class NodeParts:
    """What one node of a group has on the group's database."""

    name: str
    signer: SigningKey
    chain: AuditChain
    journal: Journal


@pytest.fixture
async def engine(driver_database: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(driver_database)
    yield engine
    await engine.dispose()


@pytest.fixture
async def pool(driver_database: str) -> AsyncIterator[Pool]:
    async with Pool(driver_database, 8, "test") as pool:
        yield pool


def node_parts(pool: Pool, name: str, signer: SigningKey | None = None) -> NodeParts:
    signer = signer or SigningKey(Ed25519PrivateKey.generate())
    chain = AuditChain(pool, name, signer)
    return NodeParts(name, signer, chain, Journal(pool, name, chain))


@pytest.fixture
def node(pool: Pool) -> NodeParts:
    return node_parts(pool, "driver-1")


@pytest.fixture
def run(tmp_path: Path, driver_database: str) -> Callable[..., Result]:
    """A command of hsm-driver on this test's database; nothing else is there."""
    path = tmp_path / "hsm-driver.toml"
    path.write_text(
        new_configuration(
            NewDriver(
                node="node-1",
                group="hsm",
                url="https://localhost:1",
                job_signing_keys=["AAAA"],
                database_url=driver_database,
                health_port=0,
                module=Path("/nowhere/pkcs11.so"),
                token_label="custody",
                pin_file=Path("pin"),
            )
        )
    )
    return lambda *words: CliRunner().invoke(app, ["--config", str(path), *map(str, words)])
