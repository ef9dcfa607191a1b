from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.database.pool import Pool
from custody.node.audit import AuditChain
from custody.node.journal import Journal
from custody.wire.signed_bytes import SigningKey
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
