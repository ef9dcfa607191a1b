"""Two driver groups, each with its own database, that import keys on one token."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from custody.database.pool import Pool
from custody.pkcs11.administration import administration
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_traits import TokenTraits
from custody.wire.algorithms import ECDSA_SECP256R1
from devstack.postgres import Cluster
from hsm_driver.import_keys import ImportRows
from hsm_driver.import_sweep import ImportSweep, over_at
from tests.conftest import fresh_database
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.outside import objects, run
from tests.integration.pkcs11.test_imports import (
    SECRET,
    Import,
    pool,
    prepared,
    public_key,
    stored,
    work,
)
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.tokens import Tokens
from tests.wrapped_imports import pkcs8

__all__ = ["pool"]


@pytest.fixture
def other_database(postgres: Cluster, driver_template: str) -> Iterator[str]:
    yield from fresh_database(postgres, driver_template)


@pytest.fixture
async def other_pool(other_database: str) -> AsyncIterator[Pool]:
    """The database of another driver group. Its id differs, as if it had its own migration."""
    async with Pool(other_database, 2, "test") as pool:
        await pool.rows("UPDATE database_id SET id = gen_random_uuid() RETURNING id")
        yield pool


async def sweep(one: Import, pool: Pool) -> None:
    """Sweep as the driver of this database does at its start."""
    each = ImportSweep(one.imports, ImportRows(pool))
    await each.sweep()
    assert each.problem() is None


async def signs(one: Import, hsm: Hsm) -> bool:
    """Return whether a key can be imported with the import key."""
    key = await one.take_in(
        one.wrap(pkcs8(ECDSA_SECP256R1, SECRET)), public_key(ECDSA_SECP256R1, SECRET)
    )
    verified(key, digest(1), await hsm.sign(key, digest(1)))
    return True


@pytest.mark.each_provider
async def test_a_group_destroys_its_own_leftovers_and_no_import_key_of_another_group(
    hsm: Hsm, pool: Pool, other_pool: Pool
):
    mine, _ = await stored(pool, hsm)
    theirs, _ = await stored(other_pool, hsm)
    leftovers = [  # of crashes, with no row
        await prepared(hsm, ECDSA_SECP256R1, each.imports.owner) for each in (mine, theirs)
    ]
    await sweep(mine, pool)
    assert await mine.imports.present(mine.token) == [mine.id]
    both = sorted([theirs.id, leftovers[1].id])
    assert await theirs.imports.present(theirs.token) == both
    await sweep(theirs, other_pool)
    assert await mine.imports.present(mine.token) == [mine.id]
    assert await theirs.imports.present(theirs.token) == [theirs.id]
    assert await signs(mine, hsm)
    assert await signs(theirs, hsm)


async def test_the_end_of_an_import_leaves_the_import_key_of_another_group(
    hsm: Hsm, pool: Pool, other_pool: Pool
):
    mine, handler = await stored(pool, hsm)
    theirs, _ = await stored(other_pool, hsm)
    handled = await handler.handle(work(mine, mine.wrap(pkcs8(ECDSA_SECP256R1, SECRET))))
    for row in handled.rows:
        await pool.rows(row.sql, row.alone)
    await sweep(mine, pool)
    assert await mine.imports.present(mine.token) == []
    assert await mine.imports.remove(mine.token, [theirs.id]) == []  # not even by its id
    assert await signs(theirs, hsm)


async def test_another_driver_of_the_group_uses_and_destroys_an_import_key(
    settings: HsmSettings, pool: Pool
):
    async with opened(settings) as first:
        one, _ = await stored(pool, first)
    async with opened(settings) as second:
        owner = await ImportRows(pool).owner()
        again = replace(one, imports=type(one.imports)(second, owner))
        assert await signs(again, second)
        await ImportRows(pool).finish(one.id)
        await sweep(again, pool)
        assert await again.imports.present(one.token) == []


_RELABEL = """
session = token.open(rw=True, user_pin=pin)
for key in session.get_objects({Attribute.LABEL: LABEL}):
    key[Attribute.LABEL] = NEW
print("true")
"""


def relabel(tokens: Tokens, old: str, new: str) -> None:
    run(tokens, _RELABEL.replace("LABEL})", f"{old!r}}})").replace("NEW", repr(new)))


@pytest.mark.each_provider
async def test_import_keys_of_earlier_versions_are_used_and_destroyed_as_before(
    settings: HsmSettings, tokens: Tokens, pool: Pool
):
    """Their label had no owner."""
    changeable = replace(settings, traits=TokenTraits(master_key_without=("MODIFIABLE",)))
    async with opened(changeable) as hsm:
        waiting, _ = await stored(pool, hsm)
        over, _ = await stored(pool, hsm)
        leftover = await prepared(hsm, ECDSA_SECP256R1, waiting.imports.owner)
        relabel(tokens, f"custody-import-{waiting.imports.owner}", "custody-import")
        assert objects(tokens).count("custody-import") == 3
        await ImportRows(pool).finish(over.id)
        ended = {over.id, leftover.id}
        assert await over_at(waiting.imports, ImportRows(pool), waiting.token) == ended
        await sweep(waiting, pool)
        assert await waiting.imports.present(waiting.token) == [waiting.id]
        assert await signs(waiting, hsm)
        await ImportRows(pool).finish(waiting.id)
        await sweep(waiting, pool)
        assert "custody-import" not in objects(tokens)


async def test_keys_of_other_software_are_not_listed_as_import_keys(
    hsm: Hsm, settings: HsmSettings, tokens: Tokens
):
    """Some have labels that are not text, or that begin as ours."""
    theirs = await prepared(hsm, ECDSA_SECP256R1, "fedcba9876543210")
    run(tokens, _FOREIGN)
    async with administration(settings) as token:
        assert await token.import_keys("0123456789abcdef", others=True) == [theirs.id]
        assert await token.import_keys("0123456789abcdef") == []


_FOREIGN = """
from pkcs11.attributes import AttributeMapper
mapper = AttributeMapper()
mapper.register_handler(Attribute.LABEL, bytes, bytes)
session = token.open(rw=True, user_pin=pin, attribute_mapper=mapper)
number = lambda value: value.to_bytes(128)
for label in (bytes([255, 254]), b"custody-imports", b"custody", b""):
    session.create_object({
        Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.RSA,
        Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.LABEL: label,
        Attribute.ID: bytes(16), Attribute.MODULUS: number(3233),
        Attribute.PUBLIC_EXPONENT: bytes([17]), Attribute.PRIVATE_EXPONENT: number(2753),
    })
print("true")
"""
