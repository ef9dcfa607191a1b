"""A signer's share copies: into the database with the share, then into the customer's bucket.

After a kill the test continues with a new Putter, as a new process would have it.
"""

import asyncio
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncpg.exceptions import UniqueViolationError

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.s3.bucket import Bucket
from custody.wire.signed_bytes import SigningKey
from custody.wire.tickets import Protocol
from devstack.s3 import S3Server
from mpc.layer4.copies import ShareCopies
from mpc.layer4.putting import Putter
from mpc.layer4.share_copy import read_share_copy
from mpc.shares.shares import Shares
from mpc.shares.stored_share import StoredShare
from tests import faulty_s3
from tests.customers import Customer
from tests.faulty_s3 import Answer, FaultyS3
from tests.integration.signer.keys import (
    SetOfShares,
    confirm,
    found,
    new_key,
    put,
)

ROWS = "SELECT name, content, attempts, last_fault, stored_at FROM share_copies"


@pytest.fixture
def customer(s3_server: S3Server, tmp_path: Path) -> Customer:
    return Customer.of(s3_server, tmp_path)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyS3]:
    proxy = FaultyS3(s3_server.leaf, s3_server.port)
    yield proxy
    proxy.close()


class Layer4:
    """What a process of the signer has of Layer 4."""

    def __init__(self, pool: Pool, identity: SigningKey, shares: Shares, section: Any) -> None:
        self.pool = pool
        self.shares = shares
        self.putter = Putter(pool, section)
        self.copies = ShareCopies(pool, identity, shares, section, self.putter, patience=0.2)

    async def confirm(self, made: SetOfShares) -> StoredShare:
        """Commit a share with its copy, as Preparation has it."""
        share = await self.shares.prepare_row(made.confirmation, None, made.ours)
        stored = await confirm_facts(self.pool, self.shares, made)
        await put(self.pool, share, await self.copies.row(stored, made.ours))
        return await found(self.shares, made)

    async def put(self) -> Any:
        """Put what waits, whether its time has come or not. Return the row of the one copy."""
        await self.pool.rows("UPDATE share_copies SET retry_at = now()", {})
        await self.putter.put_due()
        await self.putter._count()
        return await self.row()

    async def row(self) -> Any:
        [row] = await self.pool.rows(ROWS, {})
        return row


async def confirm_facts(pool: Pool, shares: Shares, made: SetOfShares) -> StoredShare:
    """The facts of a share as its row would have them; nothing stays in the database."""
    stored = await confirm(pool, shares, made)
    await pool.rows("DELETE FROM shares WHERE ceremony = :ceremony", {"ceremony": made.ceremony})
    return stored


@pytest.fixture
def layer4(pool: Pool, identity: SigningKey, shares: Shares, customer: Customer) -> Layer4:
    return Layer4(pool, identity, shares, customer.settings())


def opened(content: bytes, customer: Customer) -> bytes:
    """What the stock tool decrypts."""
    command: list[str | Path] = ["age", "--decrypt", "-i", customer.key.private_key]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


@pytest.mark.parametrize("protocol", list(Protocol))
async def test_the_customer_decrypts_the_copy_with_the_stock_tool(
    layer4: Layer4, customer: Customer, identity: SigningKey, protocol: Protocol
) -> None:
    made = new_key(protocol)
    await layer4.confirm(made)
    assert (await layer4.row()).content is not None
    row = await layer4.put()
    assert (row.content, row.last_fault, row.attempts) == (None, None, 1)
    assert layer4.putter.problem() is None
    [name] = customer.names()
    content = customer.server.read(customer.bucket, name)
    digest = hashlib.sha256(content).hexdigest()
    assert name == f"signer-1/{made.key_id}/0-{made.ceremony}-{digest}.age"
    copy = read_share_copy(await asyncio.to_thread(opened, content, customer))
    assert copy.share == made.ours.to_bytes()
    assert copy.identity_public_key == identity.public_key
    assert (copy.key_id, copy.ceremony) == (made.key_id, made.ceremony)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (faulty_s3.empty_success, "neither the checksum nor the ETag"),
        (faulty_s3.cut_before_the_server, "cannot be reached"),
        (faulty_s3.cut_after_the_server, "cannot be reached"),
        (faulty_s3.error(503, "SlowDown"), "503 SlowDown"),
        (faulty_s3.error(403, "AccessDenied"), "bucket's policy"),
    ],
)
async def test_after_a_fault_the_same_bytes_are_put_again(
    pool: Pool,
    identity: SigningKey,
    shares: Shares,
    customer: Customer,
    proxy: FaultyS3,
    answer: Answer,
    says: str,
) -> None:
    section = customer.settings(endpoint=proxy.endpoint)
    layer4 = Layer4(pool, identity, shares, section)
    await layer4.confirm(new_key())
    kept = bytes((await layer4.row()).content)
    proxy.answer = answer
    row = await layer4.put()
    assert says in row.last_fault
    assert (bytes(row.content), row.attempts) == (kept, 1)
    problem = layer4.putter.problem()
    assert problem is not None
    assert says in problem
    proxy.answer = faulty_s3.honest
    again = Layer4(pool, identity, shares, section)
    assert (await again.put()).stored_at is not None
    assert [request.body for request in proxy.requests] == [kept, kept]
    assert len(customer.copies()) == 1
    assert again.putter.problem() is None


async def test_a_put_that_waits_for_its_next_time_is_left_alone(
    pool: Pool, identity: SigningKey, shares: Shares, customer: Customer, proxy: FaultyS3
) -> None:
    layer4 = Layer4(pool, identity, shares, customer.settings(endpoint=proxy.endpoint))
    await layer4.confirm(new_key())
    proxy.answer = faulty_s3.error(503, "SlowDown")
    for _ in range(3):
        await layer4.put()
    assert await layer4.putter.put_due() == []
    [row] = await pool.rows("SELECT retry_at - now() AS pause FROM share_copies", {})
    assert 2 < row.pause.total_seconds() <= 4


async def test_a_signer_that_is_killed_between_put_and_confirmation_puts_no_second_version(
    layer4: Layer4, customer: Customer
) -> None:
    await layer4.confirm(new_key())
    row = await layer4.row()
    assert Bucket(customer.settings()).put_new(row.name, bytes(row.content)).is_new
    assert (await layer4.put()).stored_at is not None
    versions = customer.server.administrator.list_object_versions(Bucket=customer.bucket)
    assert len(versions["Versions"]) == 1


async def test_a_share_that_is_not_stored_leaves_no_copy(
    layer4: Layer4, pool: Pool, shares: Shares
) -> None:
    """A kill before the commit is the same: share and copy are in one transaction."""
    made = new_key()
    stored = await confirm_facts(pool, shares, made)
    await put(pool, shares.abandon_row(made.key_id, made.ceremony))
    copy = await layer4.copies.row(stored, made.ours)
    row = await shares.prepare_row(made.confirmation, None, made.ours)
    with pytest.raises(UniqueViolationError):
        await put(pool, copy, row)
    assert await pool.rows(ROWS, {}) == []


async def test_a_promise_waits_for_the_bucket_and_says_what_is_missing(
    pool: Pool, identity: SigningKey, shares: Shares, customer: Customer, proxy: FaultyS3
) -> None:
    layer4 = Layer4(pool, identity, shares, customer.settings(endpoint=proxy.endpoint))
    stored = await layer4.confirm(new_key())
    proxy.answer = faulty_s3.error(403, "AccessDenied")
    await layer4.put()
    with pytest.raises(Failed) as raised:
        await layer4.copies.require_stored(stored)
    assert (raised.value.code, raised.value.transient) == ("share_copy_missing", True)
    assert "403 AccessDenied" in raised.value.reason
    assert await layer4.putter.put_due() == [False]  # it was asked to try again at once
    proxy.answer = faulty_s3.honest
    await layer4.put()
    await layer4.copies.require_stored(stored)


async def test_a_share_from_before_gets_its_copy_when_it_is_to_be_promised(
    layer4: Layer4, pool: Pool, shares: Shares, customer: Customer
) -> None:
    stored = await confirm(pool, shares, new_key())
    with pytest.raises(Failed, match="no put has ended"):
        await layer4.copies.require_stored(stored)
    await layer4.put()
    await layer4.copies.require_stored(stored)
    assert len(customer.copies()) == 1


async def test_another_customer_key_needs_copies_of_its_own(
    layer4: Layer4,
    pool: Pool,
    identity: SigningKey,
    shares: Shares,
    customer: Customer,
) -> None:
    await layer4.confirm(new_key())
    await layer4.put()
    customer.replace_key()
    later = Layer4(pool, identity, shares, customer.settings())
    await later.putter._count()
    assert later.putter.problem() == "1 shares have no copy; run mpc-signer layer4 backfill"


async def test_the_copy_of_an_abandoned_share_is_not_put(
    layer4: Layer4, pool: Pool, shares: Shares, customer: Customer
) -> None:
    made = new_key()
    await layer4.confirm(made)
    await put(pool, shares.abandon_row(made.key_id, made.ceremony))
    assert await layer4.putter.put_due() == []
    await layer4.putter._count()
    assert await pool.rows(ROWS, {}) == []
    assert customer.names() == []


async def test_a_repaired_share_has_a_copy_with_the_same_secret(
    layer4: Layer4, pool: Pool, shares: Shares, customer: Customer
) -> None:
    made = new_key(Protocol.DKLS23_SECP256K1)
    repaired = made.repaired()
    await put(pool, await shares.repaired_row(made.repair_ticket(), None, repaired))
    await layer4.copies.make(await found(shares, made))
    await layer4.put()
    [copy] = customer.copies()
    assert copy.secret_share == made.ours.secret_share()
