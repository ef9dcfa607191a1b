"""A database that knows no master key learns them only if it never knew any."""

from pathlib import Path
from uuid import uuid4

import pytest

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.pkcs11.messages import KeyProof
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import ECDSA_SECP256K1, Protection
from hsm_driver.first_start import MARK, remember_master_keys, require_first_start
from hsm_driver.vault import ADOPTED, record_proofs, row_of
from tests.adopter import adopt_row

NAME, VALUE = "custody/1", bytes(32)


async def refusal(pool: Pool, state: Path) -> str:
    with pytest.raises(OperatorError) as caught:
        await require_first_start(pool, state)
    return caught.value.what


async def test_a_new_database_on_a_new_host_learns(pool: Pool, tmp_path: Path):
    await require_first_start(pool, tmp_path / "state")


async def test_a_wrapped_key_shows_that_master_keys_were_known(pool: Pool, tmp_path: Path):
    key = WrappedKey(ECDSA_SECP256K1, bytes(33), Protection.HSM, b"w", NAME, "AES_KEY_WRAP")
    row = row_of(uuid4(), None, key)
    await pool.rows(row.sql, row.alone)
    assert "wrapped keys" in await refusal(pool, tmp_path)


async def test_a_proof_shows_that_master_keys_were_known(pool: Pool, tmp_path: Path):
    proof = KeyProof(mechanism="AES_GCM", wrapped=b"sealed")
    changes = AuditedChanges(pool, "driver-1")
    await record_proofs(changes, {NAME: proof}, {NAME: VALUE}, "bo")
    await pool.rows("DELETE FROM audit")
    assert "proofs" in await refusal(pool, tmp_path)


async def test_an_adoption_of_any_node_shows_that_master_keys_were_known(
    pool: Pool, tmp_path: Path
):
    await adopt_row(
        pool,
        ADOPTED,
        (NAME, VALUE),
        "INSERT INTO master_keys (id, check_value) VALUES (:id, :value) RETURNING id",
        {"id": NAME, "value": VALUE},
    )
    await pool.rows("DELETE FROM master_keys")
    assert "audit chain" in await refusal(pool, tmp_path)


async def test_the_state_directory_shows_that_master_keys_were_known(pool: Pool, tmp_path: Path):
    remember_master_keys(tmp_path / "state")
    remember_master_keys(tmp_path / "state")
    assert MARK in await refusal(pool, tmp_path / "state")
