"""Layer 4 while the encryption key changes: the copies are under the customer's key alone."""

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.wire.signed_bytes import SigningKey
from devstack.s3 import S3Server
from mpc.layer4.share_copy import make_share_copy, read_share_copy
from mpc.recover.private_key import recovered
from mpc.recover.share_set import SetFacts
from mpc.shares.encryption_key import load_key_file
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.shares import Shares
from tests.customers import Customer
from tests.integration.signer.commands import command, edit
from tests.integration.signer.keys import SetOfShares, activate, found, new_key
from tests.integration.signer.test_share_copies import Layer4

ROWS = "SELECT name, content, place, customer_key, stored_at FROM share_copies ORDER BY name"


async def rows_of(pool: Pool) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await pool.rows(ROWS)]


def objects_of(customer: Customer) -> dict[str, bytes]:
    return {name: customer.server.read(customer.bucket, name) for name in customer.names()}


async def rewrap(pool: Pool, config: Path, before: str, new: Path) -> Shares:
    """Rewrap, and return the shares as the restarted signer has them."""
    done = await command(config, "rewrap", "--new-key-file", new)
    assert done.exit_code == 0, done.output
    edit(config, before, new.name)
    keys = EncryptionKeys([load_key_file(new)], [])
    await keys.compare(pool)
    return Shares(pool, keys)


async def require_recovered(customer: Customer, shares: Shares, made: SetOfShares) -> None:
    """Recover the private key from the copy in the bucket and that of signer-2."""
    [ours] = [copy for copy in customer.copies() if copy.key_id == made.key_id]
    signer_2 = SigningKey(Ed25519PrivateKey.generate())
    facts = replace(await found(shares, made), index=2)
    theirs = read_share_copy(make_share_copy(facts, made.shares[2], signer_2))
    private_key = recovered(SetFacts.of(ours), [ours, theirs])
    assert private_key.public_key == made.ours.public_key


async def test_copies_of_before_and_after_are_untouched_and_give_the_private_keys(
    pool: Pool,
    identity: SigningKey,
    shares: Shares,
    config: Path,
    s3_server: S3Server,
    tmp_path: Path,
) -> None:
    customer = Customer.of(s3_server, tmp_path)
    before = Layer4(pool, identity, shares, customer.settings())
    stored, waiting, lacking, later = (new_key() for _ in range(4))
    await before.confirm(stored)
    assert await before.putter.put_due() == [True]
    await before.confirm(waiting)
    await activate(pool, shares, lacking)  # from before Layer 4 was on: it has no copy
    rows, objects = await rows_of(pool), objects_of(customer)
    assert (len(rows), len(objects)) == (2, 1)

    rewrapped = await rewrap(pool, config, "encryption.key", tmp_path / "next.key")
    assert await rows_of(pool) == rows
    assert objects_of(customer) == objects

    after = Layer4(pool, identity, rewrapped, customer.settings())
    await after.confirm(later)
    await after.copies.make(await found(rewrapped, lacking))
    assert await after.putter.put_due() == [True, True, True]
    [waited] = [(name, content) for name, content, *_ in rows if content is not None]
    assert objects_of(customer).items() >= {*objects.items(), waited}
    objects = objects_of(customer)
    assert len(objects) == 4

    again = await rewrap(pool, config, "next.key", tmp_path / "third.key")
    assert objects_of(customer) == objects
    for made in (stored, waiting, lacking, later):
        await require_recovered(customer, again, made)
