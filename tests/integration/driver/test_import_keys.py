"""Rows of import keys, and the imports that a driver denies before it asks the HSM."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.node.errors import Denied, Failed, Refused
from custody.node.handlers import RowChange, Work
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import ECDSA_SECP256K1, Algorithm, Curve, Protection, Scheme, Store
from custody.wire.imports import ImportedKey, Wrapping
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.requests import CreateKey
from custody.wire.signed_bytes import SigningKey
from hsm_driver.import_keys import MAX_LIVE, MAX_OF_APPLICATION, MAX_UNSIGNED, ImportRows
from hsm_driver.import_sweep import ImportSweep
from hsm_driver.key_import import ImportKey
from hsm_driver.new_keys import NewKeys
from hsm_driver.stated_imports import StatedImports
from hsm_driver.vault import Vault, row_of
from tests.made_up_keys import made_up_key
from tests.stated_imports import record_statement
from tests.unit.node.requests import job_around
from tests.unit.wire.protocol_examples import NODE_SIGNER

WRAPPED = WrappedKey(
    algorithm=ECDSA_SECP256K1,
    public_key=made_up_key(),
    protection=Protection.HSM,
    wrapped=b"wrapped",
    master_key="custody/1",
    mechanism="AES_KEY_WRAP_PAD",
    imported=True,
)
OTHER_DRIVER = SigningKey(Ed25519PrivateKey.generate())
APPLICATION, OTHER = (SigningKey(Ed25519PrivateKey.generate()).public_key for _ in range(2))


@pytest.fixture
def rows(pool: Pool) -> ImportRows:
    return ImportRows(pool)


async def apply(pool: Pool, change: RowChange) -> None:
    await pool.rows(change.sql, change.alone)


async def made(pool: Pool, rows: ImportRows, application: bytes | None = APPLICATION) -> UUID:
    """An import whose key is said to be on a token."""
    import_id = uuid4()
    expires_at = await rows.reserve(import_id, application, ECDSA_SECP256K1)
    await apply(pool, made_key(rows, import_id, expires_at))
    await record_statement(pool, import_id)
    return import_id


def made_key(rows: ImportRows, import_id: UUID, expires_at: datetime) -> RowChange:
    wrapping, place = Wrapping.RSA_OAEP_AES_KWP_SHA1, Protection.HSM
    return rows.made(import_id, "custody", b"an RSA key", wrapping, place, expires_at)


async def test_the_end_of_a_label_is_from_the_id_of_the_database(pool: Pool, rows: ImportRows):
    owner = await rows.owner()
    assert len(f"custody-import-{owner}") < 32  # tokens limit labels
    [row] = await pool.rows("SELECT id FROM database_id")
    assert row.id.hex.startswith(owner)
    await pool.rows("DELETE FROM database_id RETURNING id")
    with pytest.raises(OperatorError, match="has no row"):
        await rows.owner()


async def test_the_same_import_is_reserved_once_for_one_application(rows: ImportRows):
    import_id = uuid4()
    expires_at = await rows.reserve(import_id, APPLICATION, ECDSA_SECP256K1)
    assert expires_at > datetime.now(UTC)
    assert await rows.reserve(import_id, APPLICATION, ECDSA_SECP256K1) >= expires_at
    edwards = Algorithm(Scheme.EDDSA, Curve.ED25519)
    for application, algorithm in (
        (OTHER, ECDSA_SECP256K1),
        (APPLICATION, edwards),
    ):
        with pytest.raises(Denied) as caught:
            await rows.reserve(import_id, application, algorithm)
        assert caught.value.code == "import_exists"
    assert await rows.find(import_id) is None  # no key yet


async def test_a_group_has_a_limit_of_import_keys(pool: Pool, rows: ImportRows):
    """Each takes up space on a token: an application could fill it."""
    ids = [uuid4() for _ in range(MAX_LIVE)]
    applications = [bytes([number // MAX_OF_APPLICATION]) * 32 for number in range(MAX_LIVE)]
    for each, application in zip(ids, applications, strict=True):
        await rows.reserve(each, application, ECDSA_SECP256K1)
    with pytest.raises(Failed) as caught:
        await rows.reserve(uuid4(), APPLICATION, ECDSA_SECP256K1)
    assert (caught.value.code, caught.value.transient) == ("too_many_imports", True)
    await rows.reserve(ids[0], applications[0], ECDSA_SECP256K1)  # a further attempt of a job
    await rows.finish(ids[0])
    await rows.reserve(uuid4(), APPLICATION, ECDSA_SECP256K1)


async def test_applications_that_sign_nothing_leave_import_keys_to_others(rows: ImportRows):
    """Otherwise an application has its own limit lifted by leaving its signature out."""
    for _ in range(MAX_UNSIGNED):
        await rows.reserve(uuid4(), None, ECDSA_SECP256K1)
    with pytest.raises(Failed) as caught:
        await rows.reserve(uuid4(), None, ECDSA_SECP256K1)
    assert (caught.value.code, caught.value.transient) == ("too_many_imports", True)
    await rows.reserve(uuid4(), APPLICATION, ECDSA_SECP256K1)


async def test_an_application_leaves_import_keys_to_others(pool: Pool, rows: ImportRows):
    """Imports that failed count as well: each has made the token generate an RSA key."""
    ids = [await made(pool, rows) for _ in range(MAX_OF_APPLICATION)]
    await rows.use(ids[0], uuid4(), b"request")
    await rows.finish(ids[0])
    with pytest.raises(Failed) as caught:
        await rows.reserve(uuid4(), APPLICATION, ECDSA_SECP256K1)
    assert (caught.value.code, caught.value.transient) == ("too_many_imports", True)
    await rows.reserve(uuid4(), OTHER, ECDSA_SECP256K1)

    key_id = uuid4()
    await rows.use(ids[1], key_id, b"request")
    await apply(pool, row_of(key_id, None, WRAPPED))
    await rows.finish(ids[1])
    await rows.reserve(uuid4(), APPLICATION, ECDSA_SECP256K1)
    await pool.rows("UPDATE import_keys SET expires_at = now()")
    await rows.reserve(uuid4(), APPLICATION, ECDSA_SECP256K1)


async def test_an_import_key_is_tried_on_one_request_only(pool: Pool, rows: ImportRows):
    import_id, key_id = await made(pool, rows), uuid4()
    await rows.use(import_id, key_id, b"request")
    await rows.use(import_id, key_id, b"request")  # after a crash
    for other in ((uuid4(), b"request"), (key_id, b"another")):
        with pytest.raises(Denied) as caught:
            await rows.use(import_id, *other)
        assert caught.value.code == "import_used"
    await rows.finish(import_id)
    with pytest.raises(Denied):
        await rows.use(import_id, key_id, b"request")


async def test_a_further_attempt_states_a_time_that_begins_then(pool: Pool, rows: ImportRows):
    """The order may wait for the HSM for longer than an import key exists."""
    import_id = uuid4()
    first = await rows.reserve(import_id, None, ECDSA_SECP256K1)
    await pool.rows("UPDATE import_keys SET expires_at = now() + interval '1 minute'")
    assert await rows.reserve(import_id, None, ECDSA_SECP256K1) >= first


async def test_an_import_key_ends_when_its_own_attempt_has_stated(pool: Pool, rows: ImportRows):
    """Another driver has begun as well, after the lease of the first had lapsed."""
    import_id = uuid4()
    stated = await rows.reserve(import_id, None, ECDSA_SECP256K1) - timedelta(minutes=1)
    await rows.reserve(import_id, None, ECDSA_SECP256K1)
    await apply(pool, made_key(rows, import_id, stated))
    stored = await rows.find(import_id)
    assert stored is not None
    assert stored.expires_at == stated


async def test_no_second_key_is_made_for_an_import_that_has_its_key_or_is_over(
    pool: Pool, rows: ImportRows
):
    """The sweep has passed an import that is over, and would leave its key on the token."""
    has_key, finished, expired = await made(pool, rows), uuid4(), uuid4()
    for each in (finished, expired):
        await rows.reserve(each, APPLICATION, ECDSA_SECP256K1)
    await rows.finish(finished)
    past = "UPDATE import_keys SET expires_at = now() - interval '1 second' WHERE import_id = :id"
    await pool.rows(past, {"id": expired})
    for each in (has_key, finished, expired):
        with pytest.raises(Denied) as caught:
            await rows.reserve(each, APPLICATION, ECDSA_SECP256K1)
        assert caught.value.code == "import_over"


async def test_used_and_expired_import_keys_are_over(pool: Pool, rows: ImportRows):
    alive, used, expired = [await made(pool, rows) for _ in range(3)]
    await apply(pool, rows.finished(used, lambda: None))
    past = "UPDATE import_keys SET expires_at = now() - interval '1 day 1 minute' WHERE {}"
    await pool.rows(past.format("import_id = :id"), {"id": expired})
    unknown = uuid4()
    assert await rows.alive([alive, used, expired, unknown]) == {alive}
    assert await rows.dead() == {used, expired}
    await rows.purge()
    assert await rows.dead() == {used}


def handler(pool: Pool) -> ImportKey:
    """Without an HSM: what is denied here is denied before the HSM is asked."""
    no_hsm = cast(Any, None)
    new_keys = NewKeys(Vault(pool, no_hsm), "zurich-1", "hsm", NODE_SIGNER)
    rows = ImportRows(pool)
    return ImportKey(no_hsm, rows, new_keys, ImportSweep(no_hsm, rows))


def import_job(import_id: UUID, algorithm: Algorithm = ECDSA_SECP256K1) -> Job:
    scheme, curve = algorithm
    imported = ImportedKey(
        import_id=import_id, public_key=made_up_key(algorithm), wrapped=b"wrapped"
    )
    request = CreateKey(scheme=scheme, curve=curve, store=Store.HSM, imported=imported)
    key = KeyReference(id=uuid4(), scheme=scheme, curve=curve, network=None, public_key=None)
    kind = JobKind.IMPORT_KEY.value
    return job_around(request, id=key.id, kind=kind, endpoint=Endpoint.KEYS, key=key)


@pytest.mark.parametrize("signed_by", [OTHER, None], ids=["another application", "nobody"])
async def test_a_key_is_imported_only_for_the_application_that_asked_for_the_import(
    pool: Pool, rows: ImportRows, signed_by: bytes | None
):
    """A control plane could let one application have the key that another one has encrypted."""
    import_id = await made(pool, rows)
    with pytest.raises(Denied) as caught:
        await handler(pool).handle(Work(import_job(import_id), b"", signed_by=signed_by))
    assert caught.value.code == "import_mismatch"


@pytest.mark.parametrize(
    "change",
    [
        "application = NULL",
        "curve = 'secp256r1'",
        "expires_at = expires_at + interval '1 day'",
        "import_key = 'another RSA key'",
        "protection = 'host'",
    ],
)
async def test_an_import_that_differs_from_its_signed_statement_is_denied(
    pool: Pool, rows: ImportRows, change: str
):
    """A person who writes to the database could give an application's key to another one."""
    import_id = await made(pool, rows)
    await pool.rows(f"UPDATE import_keys SET {change}")
    with pytest.raises(Denied) as caught:
        await handler(pool).handle(Work(import_job(import_id), b""))
    assert caught.value.code == "import_mismatch"


async def test_an_import_key_counts_only_with_the_statement_of_a_pinned_driver(
    pool: Pool, rows: ImportRows
):
    import_id = await made(pool, rows, None)
    await record_statement(pool, import_id, OTHER_DRIVER)
    with pytest.raises(Refused) as refused:  # the other driver can take the job
        await handler(pool).handle(Work(import_job(import_id), b""))
    assert refused.value.code == "import_key_missing"
    stored = await rows.find(import_id)
    assert stored is not None
    StatedImports(NODE_SIGNER.public_key, [OTHER_DRIVER.public_key]).require(stored)
    await pool.rows("DELETE FROM journal")
    with pytest.raises(Denied) as caught:
        await handler(pool).handle(Work(import_job(import_id), b""))
    assert caught.value.code == "import_mismatch"


async def test_an_import_for_another_algorithm_is_denied(pool: Pool, rows: ImportRows):
    import_id = await made(pool, rows, None)
    p256 = Algorithm(Scheme.ECDSA, Curve.SECP256R1)
    with pytest.raises(Denied) as caught:
        await handler(pool).handle(Work(import_job(import_id, p256), b""))
    assert caught.value.code == "import_mismatch"


async def test_an_expired_or_unknown_import_key_is_denied(pool: Pool, rows: ImportRows):
    import_id = await made(pool, rows, None)
    await pool.rows("UPDATE import_keys SET expires_at = now()")
    for each in (import_id, uuid4()):
        with pytest.raises(Denied) as caught:
            await handler(pool).handle(Work(import_job(each), b""))
        assert caught.value.code == "import_expired"
