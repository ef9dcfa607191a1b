"""The token's keys prove themselves by stored proofs; keys of others are not used."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import pytest

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.pkcs11.doctor import hsm_checks
from custody.pkcs11.errors import HsmFailure
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.stored_proofs import stored_proofs
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.checks import Status
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1
from hsm_driver.known_keys import known_keys
from hsm_driver.vault import Vault, row_of
from softhsm.tokens import TokenFolder
from tests.adopter import ADOPTER, adopt_first
from tests.integration.pkcs11.conftest import make_master_key
from tests.integration.pkcs11.outside import LABEL, run
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR
from tests.providers.tokens import Tokens

CKO_SECRET_KEY = 4
MASTER_KEYS = "SELECT id, check_value FROM master_keys"


@pytest.fixture
async def pool(driver_database: str) -> AsyncIterator[Pool]:
    async with Pool(driver_database, 2, "test") as pool:
        yield pool


@pytest.fixture
def strict(faulty: FaultyModule) -> int:
    """The token creates no key whose value the host knows, as a FIPS token does."""
    when = When(object_class=CKO_SECRET_KEY)
    return faulty.returns("C_CreateObject", CKR.TEMPLATE_INCONSISTENT, when)


@asynccontextmanager
async def driver(settings: HsmSettings, pool: Pool) -> AsyncIterator[Hsm]:
    """The HSM of a driver that has started on this database, with one worker."""
    known = await known_keys(pool)
    hsm = Hsm(replace(settings, workers=1))
    try:
        await hsm.start(known, accept_new=not known)
        await adopt_first(Vault(pool, hsm), pool)
        yield hsm
    finally:
        await hsm.close()


async def stored(hsm: Hsm, pool: Pool) -> WrappedKey:
    key = await hsm.generate(ECDSA_SECP256R1)
    row = row_of(uuid4(), None, key)
    await pool.rows(row.sql, row.alone)
    return key


async def known(pool: Pool) -> dict[str, bytes]:
    return {row.id: row.check_value for row in await pool.rows(MASTER_KEYS)}


async def as_before_the_proofs(pool: Pool) -> None:
    """The database as a version left it that did not have the proofs."""
    await pool.rows("TRUNCATE key_proofs")
    await pool.rows("DELETE FROM audit")


async def recorded_proofs(pool: Pool) -> list[str]:
    """The keys of the audit records of proofs."""
    records = [json.loads(row.record) for row in await pool.rows("SELECT record FROM audit")]
    return sorted(record["key"] for record in records if record["kind"] == "RecordKeyProof")


def another_master_key(tokens: Tokens) -> None:
    """A token with the same label, PIN and names of keys."""
    pin = tokens.pin_file(LABEL).read_text()
    tokens.wipe(LABEL)
    tokens.make(LABEL, pin)


@pytest.mark.each_provider
async def test_a_strict_token_proves_its_keys_at_each_start(
    faulty: FaultyModule,
    faulty_settings: HsmSettings,
    strict: int,
    pool: Pool,
    refused: type[HsmFailure],
):
    async with driver(faulty_settings, pool) as hsm:
        key = await stored(hsm, pool)
        adopted = await known(pool)
        assert await hsm.check_values() == adopted
        assert set(adopted) == {"custody/1", "custody-host/1"}
    tried, before = faulty.fired(strict), len(faulty.calls())
    async with driver(faulty_settings, pool) as hsm:
        assert await hsm.check_values() == adopted
        verified(key, digest(1), await hsm.sign(key, digest(1)))
        with pytest.raises(refused):  # the proof of the master key holds, so the key is bad
            await hsm.sign(replace(key, wrapped=key.wrapped[:-8] + bytes(8)), digest(1))
    assert faulty.fired(strict) == tried
    proving = [call.function for call in faulty.calls()[before:]]
    assert proving.index("C_UnwrapKey") < proving.index("C_GenerateKeyPair")
    assert await recorded_proofs(pool) == ["custody-host/1", "custody/1"]


@pytest.mark.each_provider
async def test_another_key_under_a_known_name_is_refused_on_a_strict_token(
    faulty_settings: HsmSettings, tokens: Tokens, strict: int, pool: Pool
):
    async with driver(faulty_settings, pool):
        pass
    another_master_key(tokens)
    await make_master_key(faulty_settings)
    with pytest.raises(OperatorError, match="another key than the one that wrapped"):
        async with driver(faulty_settings, pool):
            pass


async def test_a_database_of_before_the_proofs_gets_them_once(
    faulty: FaultyModule, faulty_settings: HsmSettings, pool: Pool
):
    async with driver(faulty_settings, pool) as hsm:
        key = await stored(hsm, pool)
    before = await known(pool)
    await as_before_the_proofs(pool)
    async with driver(faulty_settings, pool):
        assert await known(pool) == before
    assert await recorded_proofs(pool) == ["custody-host/1", "custody/1"]
    refused = faulty.returns("C_CreateObject", CKR.TEMPLATE_INCONSISTENT)
    async with driver(faulty_settings, pool) as hsm:
        verified(key, digest(1), await hsm.sign(key, digest(1)))
        assert await hsm.check_values() == before
    assert faulty.fired(refused) == 0
    assert len(await pool.rows("SELECT FROM key_proofs")) == 2


async def test_without_the_old_way_a_stored_key_proves_the_master_key(
    faulty: FaultyModule, faulty_settings: HsmSettings, tokens: TokenFolder, pool: Pool
):
    async with driver(faulty_settings, pool) as hsm:
        key = await stored(hsm, pool)
    await as_before_the_proofs(pool)
    faulty.returns("C_CreateObject", CKR.TEMPLATE_INCONSISTENT)
    async with driver(faulty_settings, pool) as hsm:
        verified(key, digest(1), await hsm.sign(key, digest(1)))
    assert await recorded_proofs(pool) == ["custody-host/1", "custody/1"]

    await as_before_the_proofs(pool)
    another_master_key(tokens)
    await make_master_key(faulty_settings)
    with pytest.raises(OperatorError, match="another key than the one that wrapped"):
        async with driver(faulty_settings, pool):
            pass


async def test_a_proof_that_somebody_adds_makes_no_key_ours(settings: HsmSettings, pool: Pool):
    """A writer of the database can add one, and audit verify then names the row."""
    async with driver(settings, pool):
        pass
    await pool.rows("UPDATE key_proofs SET wrapped = set_byte(wrapped, 0, 0)")
    async with driver(settings, pool):  # the keys prove themselves by other means
        assert set(await recorded_proofs(pool)) == {"custody/1", "custody-host/1"}


CHANGED = {
    "mechanism": "'AES_KEY_WRAP'",
    "public_key": "'\\x02'",
    "wrapped": "'\\x02'",
    "unwrapped_without": "'COPYABLE'",
    "curve": "'secp256k1'",
}


@pytest.mark.parametrize("column", CHANGED)
async def test_a_proof_that_was_changed_after_its_record_is_left_out(
    settings: HsmSettings, pool: Pool, column: str
):
    async with driver(settings, pool):
        pass
    change = f"UPDATE key_proofs SET {column} = {CHANGED[column]} WHERE key_name = 'custody/1'"
    await pool.rows(change)
    proofs = await stored_proofs(pool)
    assert [name for named in proofs.values() for name, _ in named] == ["custody-host/1"]


FOREIGN = """
session = token.open(rw=True, user_pin=pin)
for number, key_id in enumerate(IDS):
    for label, uses in (
        ("custody", MechanismFlag.WRAP | MechanismFlag.UNWRAP),
        ("custody-host", MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT),
    ):
        session.generate_key(
            KeyType.AES, 256, label=label, id=bytes.fromhex(key_id), store=True, capabilities=uses,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True},
        )
print("true")
"""
IDS = ["", "01", "0000000001", "ffffffff", "00000000", "00000007", "00000001"]
"""CKA_ID of foreign keys. The last is the version that is ours; the token makes them all inside."""


def put_in_foreign_keys(tokens: TokenFolder) -> None:
    run(tokens, f"IDS = {IDS!r}{FOREIGN}")


async def test_foreign_keys_under_our_labels_are_neither_used_nor_in_the_way(
    settings: HsmSettings, tokens: TokenFolder, pool: Pool
):
    async with driver(settings, pool) as hsm:
        key = await stored(hsm, pool)
        adopted = await known(pool)
    put_in_foreign_keys(tokens)
    async with driver(settings, pool) as hsm:
        assert await hsm.check_values() == adopted == await known(pool)
        assert len(await hsm.strangers()) == 2 * len(IDS)
        assert (await hsm.generate(ECDSA_SECP256K1)).master_key == "custody/1"
        verified(key, digest(1), await hsm.sign(key, digest(1)))
    checks = {
        check.name: check async for check in hsm_checks(settings, known=await known_keys(pool))
    }
    foreign = checks["foreign keys"]
    assert foreign.status is Status.WARN
    for said in (
        "custody (CKA_ID empty): CKA_ID has 0 bytes",
        "custody-host (CKA_ID 01): CKA_ID has 1 bytes",
        "custody/1: it is another key than the one of this database",
        "custody/7: this database does not know it",
    ):
        assert said in foreign.detail
    assert checks["master key"].detail.startswith("custody/1,")


async def test_adoption_takes_a_new_version_beside_foreign_keys(
    settings: HsmSettings, tokens: TokenFolder, pool: Pool
):
    async with driver(settings, pool):
        pass
    run(tokens, f"IDS = {['', '00000001']!r}{FOREIGN}")
    await make_master_key(settings)
    hsm = Hsm(replace(settings, workers=1))
    try:
        await hsm.start(await known_keys(pool), accept_new=True)
        new = await Vault(pool, hsm).adopt_master_keys(AuditedChanges(pool, ADOPTER), "bo")
    finally:
        await hsm.close()
    assert new == ["custody-host/2", "custody/2"]
    async with driver(settings, pool) as hsm:
        assert (await hsm.generate(ECDSA_SECP256K1)).master_key == "custody/2"


async def test_a_database_that_knows_no_key_does_not_choose_between_two_of_one_name(
    settings: HsmSettings, tokens: TokenFolder, pool: Pool
):
    run(tokens, f"IDS = {['00000001']!r}{FOREIGN}")
    with pytest.raises(HsmCannotStart, match="several keys"):
        async with driver(settings, pool):
            pass
