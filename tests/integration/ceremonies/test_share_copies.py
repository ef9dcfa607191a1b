"""Keys of signers with Layer 4: none is promised before the customer's bucket has its copies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519
from custody.wire.outcomes import PromisedShare
from devstack.s3 import S3Server
from mpc.layer4 import copies
from tests import faulty_s3
from tests.customers import Customer
from tests.faulty_s3 import FaultyS3
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import NAMES, ended, running

ONE, TWO, THREE = NAMES[:3]


@pytest.fixture
def customer(s3_server: S3Server, tmp_path: Path) -> Customer:
    return Customer.of(s3_server, tmp_path, ONE, TWO, THREE)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyS3]:
    proxy = FaultyS3(s3_server.leaf, s3_server.port)
    yield proxy
    proxy.close()


async def test_a_key_is_not_promised_while_one_signers_copy_is_missing(
    start, customer: Customer, proxy: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PATIENCE", 0.5)
    layer4 = {name: customer.section_of(tmp_path, f"{name}/") for name in (ONE, TWO)}
    layer4[TWO] |= {"endpoint": proxy.endpoint}
    proxy.answer = faulty_s3.error(503, "SlowDown")
    parties = await start(layer4=layer4)
    key = Key(EDDSA_ED25519, 2, (ONE, TWO, THREE))
    order = orders.generate(key)
    confirmed = await parties.prepare(order)
    new = parties.confirmed_key(key, order, confirmed)
    await parties.prove(new)
    promised = await parties.hold(orders.promise(new, confirmed), new.signers)
    assert isinstance(promised[ONE].result, PromisedShare)
    assert isinstance(promised[THREE].result, PromisedShare)  # it has Layer 4 off
    assert ended(promised[TWO])[0] == "share_copy_missing"
    assert promised[TWO].transient
    assert "503 SlowDown" in (promised[TWO].reason or "")
    assert await parties[TWO].states(new) == ["confirmed"]
    proxy.answer = faulty_s3.honest
    await parties.take_into_use(key, order, confirmed)
    assert sorted(copy.signer for copy in customer.copies()) == [ONE, TWO]


async def test_a_refresh_puts_copies_of_the_next_generation(
    with_key, customer: Customer, tmp_path: Path
) -> None:
    """The key is from before Layer 4 was on."""
    layer4 = {name: customer.section_of(tmp_path, f"{name}/") for name in (ONE, TWO, THREE)}
    parties, key = await with_key(ECDSA_SECP256K1, layer4=layer4)
    refreshed = await parties.refresh(key)
    found = customer.copies()
    assert sorted(copy.signer for copy in found) == [ONE, TWO, THREE]
    assert {(copy.generation, copy.ceremony) for copy in found} == {(1, refreshed.shares)}
    assert {copy.public_key for copy in found} == {key.public_key}
    [name] = [name for name in customer.names() if name.startswith(f"{ONE}/")]
    audited = await parties[ONE].rows("SELECT record FROM audit")
    assert any(name in row.record.decode() for row in audited)
    await parties.sign(refreshed)


async def test_a_share_that_was_promised_without_a_copy_is_not_taken_into_use_without_it(
    start, organisation, customer: Customer, tmp_path: Path
) -> None:
    """Layer 4 was turned on between the two orders."""
    parties = await start()
    key = Key(EDDSA_ED25519, 2, (ONE, TWO, THREE))
    order = orders.generate(key)
    confirmed = await parties.prepare(order)
    new = parties.confirmed_key(key, order, confirmed)
    promised = await parties.promise(new, confirmed)
    databases = {name: parties[name].database for name in new.signers}
    layer4 = {ONE: customer.section_of(tmp_path, f"{ONE}/")}
    async with running(organisation, databases, layer4=layer4) as again:
        await again.hold(orders.activate(new, promised), new.signers)
        assert await again[ONE].states(new) == ["active"]
    assert [copy.signer for copy in customer.copies()] == [ONE]
