"""A signer's database, encryption keys and configuration, each test's own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.runtime.configuration import read_settings
from custody.wire.signed_bytes import SigningKey
from devstack.processes import LOCALHOST, free_port
from mpc.configuration import NewSigner, new_configuration
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import FileKey, create_key_file
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.shares import Shares
from tests.integration.signer.keys import ME


@pytest.fixture
async def pool(signer_database: str) -> AsyncIterator[Pool]:
    async with Pool(signer_database, 8, "test") as pool:
        yield pool


@pytest.fixture
def key(tmp_path: Path) -> FileKey:
    return create_key_file(tmp_path / "encryption.key")


@pytest.fixture
async def keys(key: FileKey, pool: Pool) -> EncryptionKeys:
    keys = EncryptionKeys([key], [])
    await keys.adopt_first(pool)
    return keys


@pytest.fixture
def shares(pool: Pool, keys: EncryptionKeys) -> Shares:
    return Shares(pool, keys)


@pytest.fixture
def identity() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


def configuration_text(database: str, **changes: Any) -> str:
    """As init writes it; whatever it would reach beside the database is away."""
    options: dict[str, Any] = {
        "node": ME,
        "url": f"https://{LOCALHOST}:{free_port()}",
        "job_signing_keys": ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],  # RFC 8032, 7.1
        "database_url": database,
        "health_port": 0,
        "delivery": [f"delivery-1=https://{LOCALHOST}:{free_port()}"],
    }
    return new_configuration(NewSigner(**(options | changes)))


@pytest.fixture
def config(tmp_path: Path, signer_database: str, key: FileKey) -> Path:
    """A configuration file over this test's database and encryption key."""
    path = tmp_path / "mpc-signer.toml"
    path.write_text(configuration_text(signer_database))
    return path


@pytest.fixture
def settings(config: Path) -> SignerSettings:
    return read_settings(config, SignerSettings)
