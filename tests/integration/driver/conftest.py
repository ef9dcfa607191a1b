from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.database import create_engine
from hsm_driver.audit import AuditChain
from hsm_driver.journal import Journal
from wire.envelope import Signer


@dataclass
class NodeParts:
    """What one node of a group has on the group's database."""

    name: str
    signer: Signer
    chain: AuditChain
    journal: Journal


@pytest.fixture
async def engine(driver_database: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(driver_database)
    yield engine
    await engine.dispose()


def node_parts(engine: AsyncEngine, name: str, signer: Signer | None = None) -> NodeParts:
    signer = signer or Signer(Ed25519PrivateKey.generate())
    chain = AuditChain(engine, name, signer)
    return NodeParts(name, signer, chain, Journal(engine, name, chain))


@pytest.fixture
def node(engine: AsyncEngine) -> NodeParts:
    return node_parts(engine, "driver-1")
