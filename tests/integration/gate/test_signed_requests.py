"""Signed requests against a database: who is pinned, and one effect for each external id."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.node.applications import Applications
from custody.node.errors import Denied
from custody.node.signed_requests import SignedRequests
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import Network, Store
from custody.wire.jobs import Endpoint, JobKind
from custody.wire.requests import CreateWallet
from custody.wire.signed_bytes import SigningKey
from tests.unit.node.requests import APPLICATION, NOW, complete, job_around, signed

LONGEST_LIFE = timedelta(days=90)


def lock(pool: Pool, *, required: bool = True) -> SignedRequests:
    return SignedRequests(pool, Store.HSM, lambda: LONGEST_LIFE, required=required)


@pytest.fixture
async def applications(pool: Pool) -> Applications:
    known = Applications(pool)
    await known.add("shop", APPLICATION.public_key)
    return known


async def denied(checking) -> str:
    with pytest.raises(Denied) as caught:
        await checking
    return caught.value.code


@pytest.mark.usefixtures("applications")
async def test_a_pinned_applications_request_is_let_through_by_name(pool) -> None:
    found = await lock(pool).check(signed(job_around(complete())), NOW)
    assert found is not None
    assert found.name == "shop"


async def test_without_a_pinned_applications_signature_nothing_is(
    pool: Pool, applications: Applications
) -> None:
    required = lock(pool)
    job = job_around(complete())
    stranger = signed(job, SigningKey(Ed25519PrivateKey.generate()))
    assert await denied(required.check(job, NOW)) == "unsigned_request"
    assert await denied(required.check(stranger, NOW)) == "unknown_application"
    assert await applications.remove("shop")
    assert await denied(required.check(signed(job), NOW)) == "unknown_application"
    assert not await applications.remove("shop")


@pytest.mark.usefixtures("applications")
async def test_where_nobody_need_sign_a_false_signature_still_shuts(pool) -> None:
    lax = lock(pool, required=False)
    job = job_around(complete(external_id=None, key_id=None, store=None, expires_at=None))
    assert await lax.check(job, NOW) is None
    assert await lax.check(signed(job, SigningKey(Ed25519PrivateKey.generate())), NOW) is None
    named = await lax.check(signed(job), NOW)
    assert named is not None
    assert named.name == "shop"
    forged = signed(job).model_copy(update={"request": b"{}"})
    assert await denied(lax.check(forged, NOW)) == "bad_request_signature"


@pytest.mark.usefixtures("applications")
async def test_the_same_request_again_is_let_through(pool) -> None:
    required = lock(pool)
    job = signed(job_around(complete()))
    for _ in range(3):
        assert await required.check(job, NOW) is not None


@pytest.mark.usefixtures("applications")
async def test_an_external_id_is_for_its_first_request_alone(pool) -> None:
    required = lock(pool)
    job = signed(job_around(complete()))
    await required.check(job, NOW)
    same_bytes = job.model_copy(update={"id": uuid4()})
    assert await denied(required.check(same_bytes, NOW)) == "external_id_reused"
    other_bytes = signed(job_around(complete(message="pay the other one"), id=job.id))
    assert await denied(required.check(other_bytes, NOW)) == "external_id_reused"
    assert await required.check(job, NOW) is not None


@pytest.mark.usefixtures("applications")
async def test_of_many_jobs_around_one_request_at_once_one_is_let_through(pool) -> None:
    locks = [lock(pool) for _ in range(3)]
    jobs = [signed(job_around(complete())) for _ in range(30)]
    results = await asyncio.gather(
        *(locks[number % 3].check(job, NOW) for number, job in enumerate(jobs)),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    refused = [result for result in results if isinstance(result, Denied)]
    assert {result.code for result in refused} == {"external_id_reused"}
    assert len(refused) == 29


@pytest.mark.usefixtures("applications")
async def test_each_application_and_endpoint_has_external_ids_of_its_own(
    pool: Pool, applications: Applications
) -> None:
    bank = SigningKey(Ed25519PrivateKey.generate())
    await applications.add("bank", bank.public_key)
    required = lock(pool)
    wallet = CreateWallet(
        network=Network.ETHEREUM,
        store=Store.HSM,
        external_id="payment-1",
        expires_at=NOW + timedelta(minutes=5),
    )
    make = {"kind": JobKind.GENERATE_KEY.value, "endpoint": Endpoint.WALLETS}
    assert await required.check(signed(job_around(complete())), NOW) is not None
    assert await required.check(signed(job_around(complete()), bank), NOW) is not None
    assert await required.check(signed(job_around(wallet, **make)), NOW) is not None


@pytest.mark.usefixtures("applications")
async def test_the_steps_of_one_request_share_its_external_id(pool) -> None:
    required = lock(pool)
    sign = signed(job_around(complete()))
    approve = sign.model_copy(
        update={"id": uuid4(), "step_of": sign.id, "kind": JobKind.APPROVE.value}
    )
    assert await required.check(approve, NOW) is not None
    assert await required.check(sign, NOW) is not None


@pytest.mark.usefixtures("applications")
async def test_only_what_would_be_denied_as_expired_is_forgotten(pool) -> None:
    required = lock(pool)
    job = signed(job_around(complete()))
    await required.check(job, NOW)
    replay = job.model_copy(update={"id": uuid4()})
    await required.purge(NOW + timedelta(minutes=5))
    assert await denied(required.check(replay, NOW)) == "external_id_reused"
    await required.purge(NOW + timedelta(minutes=6))
    assert await denied(required.check(replay, NOW + timedelta(minutes=6))) == "expired"


async def test_a_name_or_a_key_is_pinned_once(applications: Applications) -> None:
    again = await applications.add("shop", APPLICATION.public_key)
    assert [again] == await applications.all()
    other = SigningKey(Ed25519PrivateKey.generate()).public_key
    with pytest.raises(OperatorError, match="shop"):
        await applications.add("shop", other)
    with pytest.raises(OperatorError, match="shop"):
        await applications.add("bank", APPLICATION.public_key)


@pytest.mark.usefixtures("applications")
async def test_a_signed_request_about_another_key_is_denied(pool) -> None:
    for required in (True, False):
        job = signed(job_around(complete(key_id=uuid4())))
        assert await denied(lock(pool, required=required).check(job, NOW)) == ("request_mismatch")


@pytest.mark.usefixtures("applications")
async def test_a_signed_request_that_does_not_say_everything_is_denied(pool) -> None:
    job = signed(job_around(complete(external_id=None)))
    assert await denied(lock(pool).check(job, NOW)) == "unbound_request"
    assert await lock(pool, required=False).check(job, NOW) is not None
