"""Copies of wrapped keys in a real S3 server, and the table made from them again."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.node.chain_verification import Subject, verify_chain
from custody.node.errors import Denied, Failed
from custody.node.handlers import Work
from custody.node.wanted import wanted_key
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.errors import OperatorError
from custody.s3.bucket import MAX_OBJECT_BYTES, Bucket
from custody.s3.settings import S3Section
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Network, Store
from custody.wire.jobs import Endpoint, JobKind, KeyReference
from custody.wire.requests import CreateKey
from custody.wire.signed_bytes import KEY_COPY_TYPE, SignedBytes, SigningKey
from devstack.s3 import S3Server
from hsm_driver import new_keys
from hsm_driver.audited_keys import CHECK
from hsm_driver.key_copies import KeyCopies, SealedCopy
from hsm_driver.missing_copies import put_missing
from hsm_driver.possession import prove_possession
from hsm_driver.rebuild import Rebuilt, rebuild
from hsm_driver.vault import Vault, row_of
from tests import faulty_s3
from tests.adopter import ADOPTER, adopt_first
from tests.faulty_s3 import FaultyS3
from tests.unit.node.requests import job_around

PREFIX = "hsm/"
DRIVER, OTHER_DRIVER, STRANGER = (SigningKey(Ed25519PrivateKey.generate()) for _ in range(3))


class CopiesBucket:
    """A bucket in which a driver may put, get and list."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.server = server
        self.bucket = f"keys-{uuid4().hex[:12]}"
        user = f"driver-{uuid4().hex}"
        server.add_user(user, folder / "credentials")
        server.create_bucket(
            self.bucket, {user: PREFIX}, more_actions=("s3:GetObject", "s3:ListBucket")
        )
        self.section = server.section(self.bucket, PREFIX, folder / "credentials")

    def client(self, **changes: object) -> Bucket:
        return Bucket(S3Section.model_validate({**self.section, **changes}))

    def put(self, name: str, content: bytes) -> None:
        self.server.administrator.put_object(Bucket=self.bucket, Key=PREFIX + name, Body=content)

    def read(self, name: str) -> bytes:
        return self.server.read(self.bucket, PREFIX + name)


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path) -> CopiesBucket:
    return CopiesBucket(s3_server, tmp_path)


@pytest.fixture
def copies(hsm: Hsm, bucket: CopiesBucket) -> KeyCopies:
    return KeyCopies(hsm, bucket.client(), DRIVER)


@pytest.fixture
async def pool(driver_database: str) -> AsyncIterator[Pool]:
    async with Pool(driver_database, 4, "test") as pool:
        yield pool


async def rebuilt(pool: Pool, hsm: Hsm, copies: KeyCopies) -> Rebuilt:
    changes = AuditedChanges(pool, "driver-1")
    return await rebuild(pool, Vault(pool, hsm), copies, changes, "bo", lambda _, __: None)


async def test_a_key_id_has_one_key_however_often_it_is_made(hsm, copies):
    key_id = uuid4()
    first = await hsm.generate(ECDSA_SECP256K1)
    assert await copies.put(key_id, Network.ETHEREUM, first) == first
    second = await hsm.generate(ECDSA_SECP256K1)
    assert await copies.put(key_id, Network.ETHEREUM, second) == first
    with pytest.raises(Failed, match="another kind of key"):
        await copies.put(key_id, Network.BITCOIN, second)


async def test_no_generated_key_is_the_imported_one_of_a_copy(hsm, copies, pool):
    """An import may be killed between its copy and its commit."""
    scheme, curve = ECDSA_SECP256K1
    key = KeyReference(id=uuid4(), scheme=scheme, curve=curve, network=None, public_key=None)
    request = CreateKey(scheme=scheme, curve=curve, store=Store.HSM)
    kind = JobKind.GENERATE_KEY.value
    job = job_around(request, id=key.id, kind=kind, endpoint=Endpoint.KEYS, key=key)
    imported = replace(await hsm.generate(ECDSA_SECP256K1), imported=True)
    await copies.put(key.id, None, imported)
    keys = new_keys.NewKeys(Vault(pool, hsm), "driver-1", "hsm", DRIVER, copies)
    with pytest.raises(Denied, match="a copy of another key"):
        await keys.keep(Work(job, b""), wanted_key(job), await hsm.generate(ECDSA_SECP256K1))


async def test_a_copy_shows_nothing_and_opens_for_its_own_key_only(hsm, copies, bucket):
    key_id, other = uuid4(), uuid4()
    key = await hsm.generate(EDDSA_ED25519)
    await copies.put(key_id, None, key)
    content = bucket.read(f"{key_id}.json")
    assert key.public_key.hex().encode() not in content
    bucket.put(f"{other}.json", content)
    with pytest.raises(Failed, match=f"says that it is of {key_id}") as moved:
        await copies.read(other)
    assert not moved.value.transient
    bucket.put(f"{other}.json", b"{}")
    with pytest.raises(Failed, match="form of a copy"):
        await copies.read(other)


async def test_an_object_that_the_server_refuses_does_not_stop_the_others(
    hsm, pool, copies, monkeypatch
):
    """Its name sorts first, and it is gone or may not be read, permanently."""
    gone, key_id = UUID(int=1), uuid4()
    key = await hsm.generate(ECDSA_SECP256K1)
    await copies.put(key_id, None, key)
    listed = copies._bucket.names
    name = f"{PREFIX}{gone}.json"
    monkeypatch.setattr(copies._bucket, "names", lambda: [name, *listed()])
    found = await rebuilt(pool, hsm, copies)
    assert found.added == [key_id]
    assert "cannot be read" in found.unusable[gone]


async def test_a_copy_of_another_driver_counts_if_its_key_is_pinned(hsm, copies, bucket):
    key_id = uuid4()
    theirs = await hsm.generate(ECDSA_SECP256K1)
    await KeyCopies(hsm, bucket.client(), OTHER_DRIVER).put(key_id, None, theirs)
    ours = await hsm.generate(ECDSA_SECP256K1)
    with pytest.raises(Failed, match=f"signed by {OTHER_DRIVER.key_id}, which is neither") as found:
        await copies.put(key_id, None, ours)
    assert (found.value.code, found.value.transient) == ("key_copy_unusable", False)
    assert "driver_keys" in found.value.reason
    pinning = KeyCopies(hsm, bucket.client(), DRIVER, [OTHER_DRIVER.public_key])
    assert await pinning.put(key_id, None, ours) == theirs


async def test_a_holder_of_the_pin_puts_no_key_in_a_new_keys_place(hsm, copies, bucket, pool):
    """The stranger seals with the token's key, writes to the bucket, and signs as nobody."""
    await adopt_first(Vault(pool, hsm), pool)
    known_value, forged = uuid4(), uuid4()
    for key_id in (known_value, forged):
        key = await hsm.generate(ECDSA_SECP256K1)
        await KeyCopies(hsm, bucket.client(), STRANGER).put(key_id, None, key)
    signed = SignedBytes.model_validate_json(bucket.read(f"{forged}.json"))
    as_driver = signed.model_copy(update={"signing_key_id": DRIVER.key_id})
    bucket.put(f"{forged}.json", as_driver.model_dump_json().encode())
    for key_id, said in ((known_value, "which is neither"), (forged, "forged or damaged")):
        with pytest.raises(Failed, match=said):
            await copies.put(key_id, None, await hsm.generate(ECDSA_SECP256K1))
    found = await rebuilt(pool, hsm, copies)
    assert found.unusable.keys() == {known_value, forged}
    assert (found.present, found.added) == (0, [])
    assert await pool.rows("SELECT FROM wrapped_keys") == []


async def test_an_object_without_end_is_named_and_the_rest_is_rebuilt(hsm, copies, bucket, pool):
    await adopt_first(Vault(pool, hsm), pool)
    large, good = uuid4(), uuid4()
    bucket.put(f"{large}.json", b" " * (MAX_OBJECT_BYTES + 1))
    await copies.put(good, None, await hsm.generate(ECDSA_SECP256K1))
    found = await rebuilt(pool, hsm, copies)
    assert found.added == [good]
    assert "more than" in found.unusable[large]


async def test_a_put_whose_answer_was_lost_leaves_the_key_that_was_put(
    hsm, bucket, s3_server: S3Server
):
    proxy = FaultyS3(s3_server.leaf, s3_server.port)
    try:
        copies = KeyCopies(hsm, bucket.client(endpoint=proxy.endpoint), DRIVER)
        key_id = uuid4()
        for answer in (faulty_s3.error(503, "SlowDown"), faulty_s3.cut_before_the_server):
            proxy.answer = answer
            with pytest.raises(Failed, match="not in S3") as away:
                await copies.put(key_id, None, await hsm.generate(ECDSA_SECP256K1))
            assert (away.value.code, away.value.transient) == ("key_copy_missing", True)
        proxy.answer = faulty_s3.cut_after_the_server
        put = await hsm.generate(ECDSA_SECP256K1)
        with pytest.raises(Failed, match="not in S3"):
            await copies.put(key_id, None, put)
        proxy.answer = faulty_s3.honest
        assert await copies.put(key_id, None, await hsm.generate(ECDSA_SECP256K1)) == put
    finally:
        proxy.close()


def under_version(key: WrappedKey, version: int, wrapped: bytes) -> WrappedKey:
    """Name a version that the token does not have: a copy of it opens, its key does not."""
    return replace(key, master_key=f"custody/{version}", wrapped=wrapped)


async def test_a_rewrapped_key_has_a_copy_beside_the_first_one(hsm, copies, bucket):
    key_id = uuid4()
    key = await hsm.generate(ECDSA_SECP256K1)
    await copies.put(key_id, Network.ETHEREUM, key)
    first = bucket.read(f"{key_id}.json")
    moved = under_version(key, 2, b"moved")
    assert await copies.put_rewrapped(key_id, Network.ETHEREUM, moved) == moved
    again = under_version(key, 2, b"moved once more")  # the commit of the first one has failed
    assert await copies.put_rewrapped(key_id, Network.ETHEREUM, again) == moved
    tenth = under_version(key, 10, b"moved on")
    assert await copies.put_rewrapped(key_id, Network.ETHEREUM, tenth) == tenth
    assert bucket.read(f"{key_id}.json") == first
    bucket.put(f"{key_id}.02.json", b"{}")
    assert await copies.names() == (
        {key_id: [f"{key_id}.10.json", f"{key_id}.2.json", f"{key_id}.json"]},
        [f"{PREFIX}{key_id}.02.json"],
    )


async def test_a_copy_of_another_key_is_not_taken_for_a_rewrapped_one(hsm, copies, bucket):
    key_id = uuid4()
    other = under_version(await hsm.generate(ECDSA_SECP256K1), 2, b"another key")
    await copies.put_rewrapped(key_id, None, other)
    key = under_version(await hsm.generate(ECDSA_SECP256K1), 2, b"the key")
    with pytest.raises(Failed, match="is of another key than"):
        await copies.put_rewrapped(key_id, None, key)
    bucket.put(f"{key_id}.3.json", bucket.read(f"{key_id}.2.json"))
    with pytest.raises(Failed, match="is of another key than"):
        await copies.put_rewrapped(key_id, None, replace(other, master_key="custody/3"))


async def test_a_row_that_was_changed_gets_no_copy_that_would_stay(hsm, copies):
    """A rebuild takes the newest copy of a key, so the right one would be lost behind it."""
    key_id, other = uuid4(), await hsm.generate(ECDSA_SECP256K1)
    await copies.put(key_id, None, await hsm.generate(ECDSA_SECP256K1))
    with pytest.raises(Failed, match="another public key than the key's first copy"):
        await copies.put_rewrapped(key_id, None, under_version(other, 2, b"moved"))
    assert (await copies.names())[0] == {key_id: [f"{key_id}.json"]}


async def test_the_newest_copy_that_this_hsm_can_use_gives_the_row(hsm, copies, pool):
    """The HSM was restored from a backup of before the rewrap."""
    await adopt_first(Vault(pool, hsm), pool)
    key_id, lost = uuid4(), uuid4()
    key = await hsm.generate(ECDSA_SECP256K1)
    await copies.put(key_id, None, key)
    for each in (key_id, lost):
        await copies.put_rewrapped(each, None, under_version(key, 2, b"moved"))
    found = await rebuilt(pool, hsm, copies)
    assert (found.copies, found.added, list(found.unusable)) == (2, [key_id], [lost])
    assert "custody/2" in found.unusable[lost]
    [row] = await pool.rows("SELECT wrapped, master_key FROM wrapped_keys")
    assert tuple(row) == (key.wrapped, "custody/1")


async def test_keys_without_a_copy_under_their_master_key_get_one(hsm, copies, bucket, pool):
    """They were rewrapped on a host without [key_copies], or made before the group had a bucket."""
    vault = Vault(pool, hsm)
    await adopt_first(vault, pool)
    moved, bare, copied, damaged = ids = [uuid4() for _ in range(4)]
    keys = {key_id: await hsm.generate(ECDSA_SECP256K1) for key_id in ids}
    await copies.put(copied, None, keys[copied])
    await copies.put(moved, None, under_version(keys[moved], 9, b"before the rewrap"))
    keys[damaged] = replace(keys[damaged], wrapped=b"damaged!" * 5)
    for key_id, key in keys.items():
        row = row_of(key_id, None, key)
        await pool.rows(row.sql, row.alone)
    newest = ["custody/1", "custody-host/1"]
    survey = await put_missing(pool, vault, copies, newest, dry_run=True)
    assert (survey.number, survey.failed) == (3, [])
    assert sorted((await copies.names())[0]) == sorted([copied, moved])
    done = await put_missing(pool, vault, copies, newest)
    assert (done.number, [each.key_id for each in done.failed]) == (2, [str(damaged)])
    names, _ = await copies.names()
    first, second = f"{moved}.json", f"{moved}.1.json"
    assert names == {
        moved: [second, first], bare: [f"{bare}.1.json"], copied: [f"{copied}.json"],
    }  # fmt: skip
    assert (await copies.read(moved, second)).key == keys[moved]
    again = await put_missing(pool, vault, copies, ["custody/1", "custody-host/1"])
    assert again.number == 0


async def test_missing_copies_are_not_put_into_a_bucket_that_cannot_be_listed(hsm, bucket, pool):
    away = KeyCopies(hsm, bucket.client(endpoint="https://127.0.0.1:1"), DRIVER)
    with pytest.raises(OperatorError, match="cannot be listed") as refused:
        await put_missing(pool, Vault(pool, hsm), away, ["custody/1"])
    assert "run the command again" in refused.value.todo


async def test_a_copy_whose_master_key_is_gone_does_not_stand_for_one(hsm, copies, bucket, pool):
    """The keys were rewrapped without copies, and the older master keys were then deleted."""
    vault = Vault(pool, hsm)
    await adopt_first(vault, pool)
    key_id, key = uuid4(), await hsm.generate(ECDSA_SECP256K1)
    row = row_of(key_id, None, key)
    await pool.rows(row.sql, row.alone)
    old = SealedCopy(key_id=key_id, sealed_by="custody-host/0", sealed=b"sealed")
    signed = DRIVER.sign(KEY_COPY_TYPE, old.model_dump_json().encode())
    bucket.put(f"{key_id}.json", signed.model_dump_json().encode())
    done = await put_missing(pool, vault, copies, ["custody/1", "custody-host/1"])
    assert (done.number, done.failed) == (1, [])
    assert (await copies.read(key_id, f"{key_id}.1.json")).key == key


async def test_the_table_is_made_again_and_what_is_no_copy_is_named(hsm, copies, bucket, pool):
    vault = Vault(pool, hsm)
    await adopt_first(vault, pool)
    keys: dict[UUID, bytes] = {}
    for algorithm in (ECDSA_SECP256K1, EDDSA_ED25519):
        key_id, key = uuid4(), await hsm.generate(algorithm)
        await copies.put(key_id, None, key)
        keys[key_id] = key.public_key
    moved = uuid4()
    bucket.put(f"{moved}.json", bucket.read(f"{next(iter(keys))}.json"))
    bucket.put("notes.txt", b"hello")
    found = await rebuilt(pool, hsm, copies)
    assert set(found.added) == set(keys)
    assert list(found.unusable) == [moved]
    assert found.strange == [f"{PREFIX}notes.txt"]
    assert (found.copies, found.present) == (3, 0)
    for key_id, public_key in keys.items():
        stored = await vault.find(key_id)
        assert stored is not None
        assert stored[0].public_key == public_key
        await prove_possession(vault, key_id, stored[0])
    again = await rebuilt(pool, hsm, copies)
    assert (again.present, again.added) == (2, [])
    records = await pool.rows("SELECT convert_from(record, 'UTF8') AS record FROM audit")
    assert len([row for row in records if '"kind":"RebuildKey"' in row.record]) == 2


async def test_a_rebuilt_key_that_is_deleted_or_changed_later_is_found(hsm, pool, copies):
    await adopt_first(Vault(pool, hsm), pool)
    deleted, changed, imported = uuid4(), uuid4(), uuid4()
    for key_id in (deleted, changed, imported):
        key = await hsm.generate(EDDSA_ED25519)
        await copies.put(key_id, None, replace(key, imported=key_id == imported))
    await rebuilt(pool, hsm, copies)
    assert await audit_findings(pool) == []
    await pool.rows("DELETE FROM wrapped_keys WHERE key_id = :id", {"id": deleted})
    await pool.rows(
        "UPDATE wrapped_keys SET public_key = sha256(public_key) WHERE key_id = :id",
        {"id": changed},
    )
    await pool.rows("UPDATE wrapped_keys SET imported = false")
    assert sorted(await audit_findings(pool)) == sorted(
        [
            f"key {deleted} was rebuilt here from its copy, and its wrapped key is missing",
            f"key {changed} was rebuilt here from its copy with another public key than is stored",
            f"key {imported} was rebuilt here from its copy, and is stored as a generated key",
        ]
    )


async def audit_findings(pool: Pool) -> list[str]:
    subject = Subject("driver-1", DRIVER, (ADOPTER,))
    found = await verify_chain(pool, subject, None, CHECK, lambda *_: None)
    return [each.what for each in found.findings]
