"""Private keys that applications bring, on real tokens: taken in, or refused without a trace."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest
from coincurve import PrivateKey
from Crypto.PublicKey import ECC, RSA
from nacl.signing import SigningKey

from custody.database.pool import Pool
from custody.node.errors import Denied, Refused
from custody.node.handlers import Work
from custody.pkcs11.administration import administration
from custody.pkcs11.errors import (
    BadImport,
    HsmCrashed,
    HsmUnavailable,
    ImportKeyMissing,
    KeyNotWrappable,
)
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.hsm_imports import HsmImports
from custody.pkcs11.messages import ImportKey, ImportKeyMade
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_traits import TokenTraits
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    Algorithm,
    Protection,
    Store,
)
from custody.wire.imports import ImportedKey, Wrapping
from custody.wire.jobs import Endpoint, JobKind, KeyReference
from custody.wire.requests import CreateKey
from hsm_driver.import_keys import ImportRows
from hsm_driver.import_sweep import ImportSweep
from hsm_driver.key_import import ImportKey as ImportKeyJobs
from hsm_driver.new_keys import NewKeys
from hsm_driver.vault import Vault
from tests.integration.pkcs11.conftest import ALGORITHMS, opened
from tests.integration.pkcs11.outside import objects, run
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.faulty_module import FaultyModule
from tests.providers.return_codes import CKR
from tests.providers.tokens import Tokens
from tests.stated_imports import record_statement
from tests.unit.node.requests import job_around
from tests.unit.wire.protocol_examples import NODE_SIGNER
from tests.wrapped_imports import ORDER, pkcs8, wrapped

SECRET = bytes([0, 0, 7]) + bytes(range(29))
"""With leading zeros."""
NOBODYS = b"\x11" * 32
OWNER = "0123456789abcdef"
OWN_LABEL = f"custody-import-{OWNER}"


def public_key(algorithm: Algorithm, secret: bytes) -> bytes:
    if algorithm == ECDSA_SECP256K1:
        return PrivateKey(secret).public_key.format()
    if algorithm == EDDSA_ED25519:
        return bytes(SigningKey(secret).verify_key)
    key = ECC.construct(curve="P-256", d=int.from_bytes(secret))
    return bytes(key.public_key().export_key(format="SEC1", compress=True))


@dataclass
class Import:
    """An import whose key is on the token."""

    imports: HsmImports
    id: UUID
    token: str
    made: ImportKeyMade
    algorithm: Algorithm

    def wrap(self, content: bytes, *, aes: bytes | None = None) -> bytes:
        return wrapped(self.made.import_key, self.made.wrapping, content, aes=aes)

    async def take_in(self, content: bytes, announced: bytes, **changes: object) -> WrappedKey:
        operation = ImportKey(
            owner=self.imports.owner,
            import_id=self.id,
            import_key=self.made.import_key,
            wrapping=self.made.wrapping,
            algorithm=self.algorithm,
            protection=self.made.protection,
            public_key=announced,
            wrapped=content,
        )
        return await self.imports.take_in(self.token, operation.model_copy(update=changes))


async def prepared(hsm: Hsm, algorithm: Algorithm, owner: str = OWNER) -> Import:
    imports, import_id = HsmImports(hsm, owner), uuid4()
    token, made = await imports.make(import_id, algorithm)
    return Import(imports, import_id, token, made, algorithm)


@pytest.mark.each_provider
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_a_key_is_taken_in_signs_and_leaves_nothing_else(
    hsm: Hsm, tokens: Tokens, algorithm: Algorithm
):
    before = objects(tokens)
    one = await prepared(hsm, algorithm)
    assert RSA.import_key(one.made.import_key).size_in_bits() == 3072
    protection = (await hsm.capabilities())[algorithm]
    assert one.made.protection is protection
    announced = public_key(algorithm, SECRET)
    content = pkcs8(algorithm, SECRET)
    if algorithm != EDDSA_ED25519:
        assert len(content) < 80  # no public key in it: the token computes what it needs
    key = await one.take_in(one.wrap(content), announced)
    assert (key.public_key, key.protection, key.algorithm) == (announced, protection, algorithm)
    generated = await hsm.generate(algorithm)
    same = (key.master_key, key.mechanism) == (generated.master_key, generated.mechanism)
    assert same
    verified(key, digest(1), await hsm.sign(key, digest(1)))
    assert await one.imports.present(one.token) == [one.id]
    assert await one.imports.remove(one.token, [one.id]) == []
    assert objects(tokens) == before
    with pytest.raises(ImportKeyMissing):
        await one.take_in(one.wrap(content), announced)


_ATTRIBUTES = """
[key] = token.open(user_pin=pin).get_objects({Attribute.LABEL: OWN_LABEL})
print(json.dumps({name: bool(key[Attribute[name]]) for name in NAMES}))
"""


@pytest.mark.each_provider
async def test_an_import_key_is_as_strong_as_the_token_allows(hsm: Hsm, tokens: Tokens):
    one = await prepared(hsm, ECDSA_SECP256R1)
    assert one.made.protection is Protection.HSM
    assert OWN_LABEL in objects(tokens)
    yes = ("PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "UNWRAP")
    no = ("EXTRACTABLE", "DECRYPT", "SIGN", "SIGN_RECOVER", "MODIFIABLE", "COPYABLE")
    found = run(
        tokens,
        _ATTRIBUTES.replace("NAMES", repr((*yes, *no))).replace("OWN_LABEL", repr(OWN_LABEL)),
    )
    assert found == {**dict.fromkeys(yes, True), **dict.fromkeys(no, False)}


@pytest.mark.each_provider
async def test_a_token_uses_sha_256_where_it_can(hsm: Hsm, provider: str):
    one = await prepared(hsm, ECDSA_SECP256R1)
    is_softhsm = provider == "softhsm"
    sha1, sha256 = Wrapping.RSA_OAEP_AES_KWP_SHA1, Wrapping.RSA_OAEP_AES_KWP_SHA256
    assert one.made.wrapping is (sha1 if is_softhsm else sha256)


@pytest.mark.each_provider
@pytest.mark.parametrize("algorithm", ALGORITHMS[:2], ids=str)
@pytest.mark.parametrize("secret", [1, 2**8, -1], ids=["1", "31 zero bytes", "n - 1"])
async def test_a_key_at_the_edge_is_taken_in(hsm: Hsm, algorithm: Algorithm, secret: int):
    scalar = (secret % ORDER[algorithm]).to_bytes(32)
    one = await prepared(hsm, algorithm)
    announced = public_key(algorithm, scalar)
    key = await one.take_in(one.wrap(pkcs8(algorithm, scalar)), announced)
    verified(key, digest(1), await hsm.sign(key, digest(1)))


ANOTHER = pkcs8(ECDSA_SECP256R1, NOBODYS)
Content = Callable[[Import], bytes]
BAD: dict[str, Content] = {
    "0": lambda one: one.wrap(pkcs8(ECDSA_SECP256R1, bytes(32))),
    "n": lambda one: one.wrap(pkcs8(ECDSA_SECP256R1, ORDER[ECDSA_SECP256R1].to_bytes(32))),
    "another key": lambda one: one.wrap(ANOTHER),
    "a bit of the AES key changed": lambda one: _changed(one.wrap(ANOTHER), 5),
    "a bit of the key changed": lambda one: _changed(one.wrap(ANOTHER), -5),
    "no PKCS#8": lambda one: one.wrap(b"\x30\x03\x02\x01\x00"),
    "random bytes": lambda one: one.wrap(NOBODYS * 4),
    "PKCS#8 cut": lambda one: one.wrap(ANOTHER[:-3]),
    "an RSA key": lambda one: one.wrap(RSA.generate(1024).export_key("DER", pkcs=8)),
    "an empty AES key": lambda one: one.wrap(ANOTHER)[:384] + bytes(24),
    "AES-KWP cut": lambda one: one.wrap(ANOTHER)[:-8],
    "not whole blocks": lambda one: one.wrap(ANOTHER)[:-1],
    "RSA alone": lambda one: one.wrap(ANOTHER)[:384],
    "nothing": lambda one: b"",
    "a key encrypted to another": lambda one: wrapped(
        RSA.generate(3072).public_key().export_key("DER"), one.made.wrapping, ANOTHER
    ),
}


def _changed(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.each_provider
async def test_what_is_not_the_announced_key_is_refused_and_leaves_nothing(
    hsm: Hsm, tokens: Tokens
):
    one = await prepared(hsm, ECDSA_SECP256R1)
    before = objects(tokens)
    announced = public_key(ECDSA_SECP256R1, SECRET)
    workers = hsm.worker_process_ids
    for content in BAD.values():
        with pytest.raises(BadImport):
            await one.take_in(content(one), announced)
    assert objects(tokens) == before
    assert set(workers) <= set(hsm.worker_process_ids)  # no bad key ends a worker
    good = await one.take_in(one.wrap(pkcs8(ECDSA_SECP256R1, SECRET)), announced)
    verified(good, digest(1), await hsm.sign(good, digest(1)))


async def test_a_key_of_another_curve_is_refused(hsm: Hsm):
    one = await prepared(hsm, ECDSA_SECP256R1)
    content = one.wrap(pkcs8(ECDSA_SECP256K1, SECRET))
    for algorithm in (ECDSA_SECP256R1, ECDSA_SECP256K1):
        with pytest.raises(BadImport):
            await one.take_in(content, public_key(algorithm, SECRET))


async def test_an_aes_key_of_another_length_is_refused_on_the_host(hsm: Hsm):
    one = await prepared(hsm, EDDSA_ED25519)
    content = one.wrap(pkcs8(EDDSA_ED25519, SECRET), aes=bytes(16))
    with pytest.raises(BadImport, match="16 bytes, not 32"):
        await one.take_in(content, public_key(EDDSA_ED25519, SECRET))


async def test_on_the_host_too_only_the_announced_key_is_taken(hsm: Hsm, tokens: Tokens):
    one = await prepared(hsm, EDDSA_ED25519)
    before = objects(tokens)
    announced = public_key(EDDSA_ED25519, SECRET)
    for content in (
        one.wrap(pkcs8(EDDSA_ED25519, NOBODYS)),
        one.wrap(pkcs8(EDDSA_ED25519, SECRET[:31])),
        one.wrap(pkcs8(EDDSA_ED25519, SECRET + b"\0")),
        one.wrap(pkcs8(ECDSA_SECP256K1, SECRET)),
        one.wrap(NOBODYS * 4),
        _changed(one.wrap(pkcs8(EDDSA_ED25519, SECRET)), 5),
        _changed(one.wrap(pkcs8(EDDSA_ED25519, SECRET)), -5),
    ):
        with pytest.raises(BadImport):
            await one.take_in(content, announced)
    assert objects(tokens) == before


async def test_each_import_has_a_key_of_its_own(hsm: Hsm):
    one, other = [await prepared(hsm, ECDSA_SECP256R1) for _ in range(2)]
    announced = public_key(ECDSA_SECP256R1, SECRET)
    content = one.wrap(pkcs8(ECDSA_SECP256R1, SECRET))
    with pytest.raises(BadImport):
        await other.take_in(content, announced)
    with pytest.raises(ImportKeyMissing):  # the stated key, and not any key of that import
        await one.take_in(content, announced, import_key=other.made.import_key)
    assert set(await one.imports.present(one.token)) == {one.id, other.id}
    assert await one.imports.remove(one.token, [other.id, uuid4()]) == [one.id]


async def test_the_key_is_there_after_the_workers_were_replaced(settings: HsmSettings):
    async with opened(settings) as hsm:
        one = await prepared(hsm, ECDSA_SECP256R1)
    announced = public_key(ECDSA_SECP256R1, SECRET)
    content = one.wrap(pkcs8(ECDSA_SECP256R1, SECRET))
    with pytest.raises(HsmUnavailable):
        await one.take_in(content, announced)
    async with opened(settings) as hsm:
        again = replace(one, imports=HsmImports(hsm, OWNER))
        key = await again.take_in(content, announced)
        verified(key, digest(1), await hsm.sign(key, digest(1)))
        with pytest.raises(ImportKeyMissing, match="does not use the token"):
            await replace(again, token="other").take_in(content, announced)


@pytest.mark.each_provider
async def test_a_key_is_taken_in_where_unwrapped_keys_get_wrap_with_trusted(settings: HsmSettings):
    """The master key, which wraps the imported key, is not trusted in this sense."""
    trusting = replace(settings, traits=TokenTraits(wrap_with_trusted=True))
    async with opened(trusting) as hsm:
        one = await prepared(hsm, ECDSA_SECP256R1)
        announced = public_key(ECDSA_SECP256R1, SECRET)
        key = await one.take_in(one.wrap(pkcs8(ECDSA_SECP256R1, SECRET)), announced)
        verified(key, digest(1), await hsm.sign(key, digest(1)))


async def test_an_import_that_the_master_key_would_not_wrap_is_not_begun(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    """Neither doctor nor the statement to the application promises such an import."""
    async with administration(faulty_settings) as token:
        capabilities = (await token.probe()).capabilities
        faulty.returns("C_WrapKey", CKR.KEY_NOT_WRAPPABLE)
        tried = await token.try_import(capabilities)
    assert set(tried.ways) == {str(EDDSA_ED25519)}  # on the host
    assert tried.refusals
    assert all("CKR_KEY_NOT_WRAPPABLE" in each for each in tried.refusals.values())
    faulty.clear()
    async with opened(faulty_settings) as hsm:
        faulty.returns("C_WrapKey", CKR.KEY_NOT_WRAPPABLE)
        with pytest.raises(KeyNotWrappable):
            await prepared(hsm, ECDSA_SECP256R1)
        assert await HsmImports(hsm, OWNER).present("custody") == []


async def test_a_try_stores_nothing(settings: HsmSettings, tokens: Tokens):
    before = objects(tokens)
    async with administration(settings) as token:
        capabilities = (await token.probe()).capabilities
        tried = await token.try_import(capabilities)
    assert set(tried.ways) == {str(each.algorithm) for each in capabilities}
    assert set(tried.ways.values()) == {Wrapping.RSA_OAEP_AES_KWP_SHA1}
    assert tried.refusals == {}
    assert objects(tokens) == before


_PUBLIC = """
with token.open(rw=True) as session:  # without the PIN
    for more in PUBLIC_OBJECTS:
        session.create_object({
            Attribute.TOKEN: True, Attribute.PRIVATE: False, Attribute.LABEL: OWN_LABEL,
            **more,
        })
print("true")
"""
_OBJECTS = """[
    {Attribute.CLASS: pkcs11.ObjectClass.DATA, Attribute.VALUE: b"x"},
    {Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.RSA,
     Attribute.MODULUS: bytes([255] * 256), Attribute.PUBLIC_EXPONENT: bytes([1, 0, 1])},
]"""


async def test_public_objects_with_the_label_keep_no_import_key_alive(hsm: Hsm, tokens: Tokens):
    """Anybody who reaches a token of SoftHSM can make them."""
    one = await prepared(hsm, ECDSA_SECP256R1)
    workers = hsm.worker_process_ids
    code = _PUBLIC.replace("PUBLIC_OBJECTS", _OBJECTS)
    run(tokens, code.replace("OWN_LABEL", repr(OWN_LABEL)))
    assert await one.imports.present(one.token) == [one.id]
    key = await one.take_in(
        one.wrap(pkcs8(ECDSA_SECP256R1, SECRET)), public_key(ECDSA_SECP256R1, SECRET)
    )
    verified(key, digest(1), await hsm.sign(key, digest(1)))
    assert await one.imports.remove(one.token, [one.id]) == []
    assert set(workers) <= set(hsm.worker_process_ids)


_STAYS = """
session = token.open(rw=True, user_pin=pin)
number = lambda value: value.to_bytes(128)
session.create_object({
    Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.RSA,
    Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.LABEL: OWN_LABEL,
    Attribute.ID: bytes(16), Attribute.DESTROYABLE: False,
    Attribute.MODULUS: number(3233), Attribute.PUBLIC_EXPONENT: bytes([17]),
    Attribute.PRIVATE_EXPONENT: number(2753),
})
print("true")
"""


async def test_an_object_that_cannot_be_destroyed_protects_no_other_one(
    hsm: Hsm, tokens: Tokens, pool: Pool
):
    stays = UUID(int=0)
    one = await prepared(hsm, ECDSA_SECP256R1)
    run(tokens, _STAYS.replace("OWN_LABEL", repr(OWN_LABEL)))
    workers = hsm.worker_process_ids
    sweep = ImportSweep(one.imports, ImportRows(pool))
    assert sweep.problem() is None
    for _ in range(2):
        await sweep.sweep()
        assert await one.imports.present(one.token) == [stays]
        problem = sweep.problem()
        assert problem is not None
        assert str(stays) in problem
    assert set(workers) <= set(hsm.worker_process_ids)


# The driver's handler, on its database


@pytest.fixture
async def pool(driver_database: str) -> AsyncIterator[Pool]:
    async with Pool(driver_database, 2, "test") as pool:
        yield pool


async def stored(pool: Pool, hsm: Hsm, token: str | None = None) -> tuple[Import, ImportKeyJobs]:
    """An import whose key is on a token, and the handler of its jobs."""
    rows = ImportRows(pool)
    one = await prepared(hsm, ECDSA_SECP256R1, await rows.owner())
    expires_at = await rows.reserve(one.id, None, one.algorithm)
    made, place = one.made, token or one.token
    row = rows.made(one.id, place, made.import_key, made.wrapping, made.protection, expires_at)
    await pool.rows(row.sql, row.alone)
    await record_statement(pool, one.id)
    new_keys = NewKeys(Vault(pool, hsm), "zurich-1", "hsm", NODE_SIGNER)
    return one, ImportKeyJobs(one.imports, rows, new_keys, ImportSweep(one.imports, rows))


def work(one: Import, content: bytes) -> Work:
    announced = public_key(one.algorithm, SECRET)
    imported = ImportedKey(import_id=one.id, public_key=announced, wrapped=content)
    scheme, curve = one.algorithm
    request = CreateKey(scheme=scheme, curve=curve, store=Store.HSM, imported=imported)
    key = KeyReference(id=uuid4(), scheme=scheme, curve=curve, network=None, public_key=None)
    kind = JobKind.IMPORT_KEY.value
    return Work(job_around(request, id=key.id, kind=kind, endpoint=Endpoint.KEYS, key=key), b"")


async def test_a_driver_without_the_token_leaves_the_job_to_another_one(hsm: Hsm, pool: Pool):
    one, elsewhere = await stored(pool, hsm, "elsewhere")
    job = work(one, one.wrap(pkcs8(ECDSA_SECP256R1, SECRET)))
    for _ in range(2):  # another driver of the group has the same database
        with pytest.raises(Refused) as caught:
            await elsewhere.handle(job)
        assert caught.value.code == "import_key_missing"


async def test_a_bad_key_ends_the_import_and_its_import_key(hsm: Hsm, pool: Pool):
    one, handler = await stored(pool, hsm)
    bad = work(one, one.wrap(ANOTHER))
    with pytest.raises(BadImport):
        await handler.handle(bad)
    for each in (bad, work(one, one.wrap(pkcs8(ECDSA_SECP256R1, SECRET)))):
        with pytest.raises(Denied) as caught:
            await handler.handle(each)
        assert caught.value.code == "import_used"
    leftover = await prepared(hsm, ECDSA_SECP256R1, one.imports.owner)  # of a crash, with no row
    assert set(await one.imports.present(one.token)) == {one.id, leftover.id}
    await ImportSweep(one.imports, ImportRows(pool)).sweep()
    assert await one.imports.present(one.token) == []


async def test_a_key_that_crashes_the_library_of_the_hsm_ends_the_import(
    faulty: FaultyModule, faulty_settings: HsmSettings, pool: Pool
):
    """Otherwise each further attempt would end a worker, until the request expires."""
    async with opened(faulty_settings) as hsm:
        one, handler = await stored(pool, hsm)
        job = work(one, one.wrap(pkcs8(ECDSA_SECP256R1, SECRET)))
        faulty.crashes("C_UnwrapKey")
        with pytest.raises(HsmCrashed):
            await handler.handle(job)
        faulty.clear()
        with pytest.raises(Denied) as caught:
            await handler.handle(job)
        assert caught.value.code == "import_used"


async def test_a_sweep_leaves_import_keys_that_wait(hsm: Hsm, pool: Pool):
    one, handler = await stored(pool, hsm)
    sweep = ImportSweep(one.imports, ImportRows(pool))
    await sweep.sweep()
    assert await one.imports.present(one.token) == [one.id]
    handled = await handler.handle(work(one, one.wrap(pkcs8(ECDSA_SECP256R1, SECRET))))
    for row in handled.rows:
        await pool.rows(row.sql, row.alone)
    await sweep.sweep()
    assert await one.imports.present(one.token) == []
