"""Which stored key a job may use: the row must be of the very key that the job names."""

from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Network, Protection
from custody.wire.jobs import Job, KeyReference
from hsm_driver.protection_warnings import protection_warnings
from hsm_driver.vault import Vault, row_of
from tests.unit.node.requests import complete, job_around

KEY = WrappedKey(
    algorithm=ECDSA_SECP256K1,
    public_key=b"\x02" + bytes(31) + b"\x01",
    protection=Protection.HSM,
    wrapped=b"wrapped",
    master_key="custody-master/1",
    mechanism="AES_KEY_WRAP_KWP",
)
Store = Callable[..., Awaitable[UUID]]


@pytest.fixture
def vault(pool: Pool) -> Vault:
    return Vault(pool, cast(Any, None))  # no HSM: a row is found without one


@pytest.fixture
async def stored(pool: Pool) -> UUID:
    """The id of a key for Ethereum."""
    known = "INSERT INTO master_keys (id, check_value) VALUES (:id, :check_value)"
    await pool.rows(known, {"id": KEY.master_key, "check_value": bytes(32)})
    key_id = uuid4()
    row = row_of(key_id, Network.ETHEREUM, KEY)
    await pool.rows(row.sql, row.alone)
    return key_id


def job(key_id: UUID, **changes: Any) -> Job:
    """A job that says of its key what is stored, but for the changes."""
    fields: dict[str, Any] = {
        "id": key_id,
        "scheme": KEY.algorithm.scheme,
        "curve": KEY.algorithm.curve,
        "network": Network.ETHEREUM,
        "public_key": KEY.public_key,
    }
    return job_around(complete(), key=KeyReference.model_construct(**fields | changes))


async def test_the_key_that_a_job_names_is_found(vault: Vault, stored: UUID):
    assert await vault.find_for(job(stored)) == KEY


@pytest.mark.parametrize(
    "changes",
    [
        {"network": None},
        {"network": Network.BITCOIN},
        {"public_key": b"\x03" + bytes(31) + b"\x01"},
        {"public_key": None},
    ],
    ids=["no network", "another network", "another key", "no key"],
)
async def test_a_row_that_differs_from_what_the_job_says_is_not_used(
    vault: Vault, stored: UUID, changes: dict[str, Any]
):
    with pytest.raises(Failed) as caught:
        await vault.find_for(job(stored, **changes))
    assert caught.value.code == "key_mismatch"


async def test_a_key_that_is_not_here_is_not_used(vault: Vault, stored: UUID):
    with pytest.raises(Failed) as caught:
        await vault.find_for(job(uuid4()))
    assert caught.value.code == "unknown_key"


async def test_a_move_of_new_keys_from_the_hsm_to_the_host_is_told(pool: Pool, stored: UUID):
    """Not for an algorithm that had no keys inside, and not while new keys are made inside."""
    capabilities = {ECDSA_SECP256K1: Protection.HOST, EDDSA_ED25519: Protection.HOST}
    [warning] = await protection_warnings(pool, capabilities)
    assert str(ECDSA_SECP256K1) in warning
    inside = {ECDSA_SECP256K1: Protection.HSM, EDDSA_ED25519: Protection.HOST}
    assert await protection_warnings(pool, inside) == []
