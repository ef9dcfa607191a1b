"""An application installs the wheel custody-client and nothing else of this project."""

import json
import os
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.built_wheels import (
    CHECKOUT,
    CLIENT,
    build_wheel,
    check_requirements,
    clean_environment,
    install,
    run,
)

# The application. It is a text, so no import of it can find the checkout.
APPLICATION = """
import asyncio, importlib.metadata, importlib.util, json, sys
from custody.client import AsyncCustody, Custody, Network

async def sign_again(key_id):
    async with AsyncCustody.from_environment() as client:
        return await client.sign_message(key_id, "hello again")

with Custody.from_environment() as client:
    wallet = client.create_wallet(Network.ETHEREUM)
    signature = client.sign_message(wallet.key_id, "hello")
    again = asyncio.run(sign_again(wallet.key_id))

json.dump({
    "source": sys.modules["custody.client"].__file__,
    "wallet": str(wallet.id),
    "signatures": [one.signature.encoded.hex() for one in (signature, again)],
    "installed": sorted(one.metadata["Name"] for one in importlib.metadata.distributions()),
    "daemons": [name for name in ("custody.node", "custody.runtime", "hsm_driver", "mpc")
                if importlib.util.find_spec(name)],
}, sys.stdout)
"""
# What an application must not have to install.
OF_DAEMONS = {"fastapi", "sqlalchemy", "asyncpg", "psycopg", "python-pkcs11", "uvicorn", "custody"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean virtual environment with the wheel, and the dependencies that the lock pins."""
    folder = tmp_path_factory.mktemp("application")
    python = clean_environment(folder / "venv")
    install(python, "--require-hashes", "-r", CHECKOUT / "requirements-client.lock")
    install(python, "--no-deps", "--no-index", build_wheel(CLIENT, folder / "dist"))
    check_requirements(python)
    return python


def test_the_client_wheel_alone_creates_a_wallet_and_signs_with_it(python: Path, stack: Stack):
    environment = os.environ | {
        "CUSTODY_API_URL": stack.control_planes[0].url,
        "CUSTODY_API_TOKEN": stack.api_token,
        "CUSTODY_CA": str(stack.ca),
    }
    said = json.loads(run(python, "-c", APPLICATION, environment=environment))

    assert Path(said["source"]).is_relative_to(python.parents[1])
    assert said["daemons"] == []
    assert "custody-client" in said["installed"]
    assert not OF_DAEMONS & set(said["installed"])
    with stack.client() as custody:
        seen = custody.list_signatures(custody.get_wallet(said["wallet"]).key_id)
        assert {one.signature.encoded.hex() for one in seen if one.signature} == set(
            said["signatures"]
        )
