"""Shares at rest: what is stored, what opens, and what never happens to a set."""

from dataclasses import replace
from uuid import uuid4

import pytest
from asyncpg.exceptions import (
    IntegrityConstraintViolationError,
    NotNullViolationError,
    UniqueViolationError,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.wire.algorithms import Network
from custody.wire.tickets import Protocol
from mpc.shares.encryption_key import create_key_file
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.shares import Shares
from mpc.shares.stored_share import ShareState
from tests.integration.signer.keys import (
    OTHERS,
    SetOfShares,
    activate,
    confirm,
    found,
    new_key,
    promise,
    put,
)
from tests.unit.mpc.native import parties


async def erased(pool: Pool, ceremony) -> bool:
    """Whether nothing of a share is left in its row."""
    (row,) = await pool.rows(
        "SELECT num_nonnulls(data_key, ciphertext, encryption_key) AS left_over FROM shares "
        "WHERE ceremony = :ceremony",
        {"ceremony": ceremony},
    )
    return bool(row.left_over == 0)


@pytest.mark.parametrize("protocol", list(Protocol))
async def test_a_share_that_was_put_away_signs(pool, shares: Shares, protocol: Protocol):
    made = new_key(protocol)
    stored = await activate(pool, shares, made)
    shares.close(made.key_id)
    opened = await shares.open(stored)
    message = bytes(32)
    signature = parties.sign({**made.shares, 1: opened}, (1, 3), message)
    if protocol is Protocol.FROST_ED25519:
        Ed25519PublicKey.from_public_bytes(stored.public_key).verify(signature, message)
    assert (stored.public_key, stored.chain_code) == (
        made.ours.public_key,
        made.ours.chain_code or None,
    )


async def test_the_row_says_nothing_of_the_share(pool: Pool, shares: Shares):
    made = new_key()
    await confirm(pool, shares, made)
    (row,) = await pool.rows("SELECT * FROM shares")
    secret = made.ours.to_bytes()
    # the header and the public parts are no secret, but they would be there in the clear, too
    windows = {secret[start : start + 8] for start in range(len(secret) - 8)}
    assert not [window for window in windows if window in row.ciphertext + row.data_key]


async def test_the_same_share_never_looks_the_same_twice(pool, shares: Shares):
    made = new_key()
    first = await shares.prepare_row(made.confirmation, None, made.ours)
    second = await shares.prepare_row(made.confirmation, None, made.ours)
    for column in ("ciphertext", "data_key"):
        assert first.values[column] != second.values[column]


async def test_a_share_in_another_row_does_not_open(pool: Pool, shares: Shares):
    made, other = new_key(), new_key()
    stored = await confirm(pool, shares, made)
    await confirm(pool, shares, other)
    await pool.rows(
        "UPDATE shares SET data_key = other.data_key, ciphertext = other.ciphertext "
        "FROM shares AS other WHERE shares.key_id = :ours AND other.key_id = :others",
        {"ours": made.key_id, "others": other.key_id},
    )
    with pytest.raises(Failed, match="another row's"):
        await shares.open(stored)


@pytest.mark.parametrize(
    "change",
    [
        "generation = generation + 1",
        "share_index = 2",
        "ceremony = gen_random_uuid()",
        "key_id = gen_random_uuid()",
        "public_key = sha256(public_key)",
        "threshold = 3",
        "transcript = sha256(transcript)",
        "protocol = 'frost-secp256k1-tr'",
        "network = 'Solana'",
        "group_name = 'another'",
        "signers = ARRAY['signer-1', 'signer-3', 'signer-2']",
        "chain_code = sha256('another')",
        "state = 'repaired'",
        "ciphertext = set_byte(ciphertext, 40, get_byte(ciphertext, 40) # 1)",
        "ciphertext = substring(ciphertext for 10)",
        "data_key = set_byte(data_key, 3, get_byte(data_key, 3) # 1)",
    ],
)
async def test_a_row_that_somebody_changed_does_not_open(pool, shares: Shares, change: str):
    made = new_key()
    await activate(pool, shares, made)
    shares.close(made.key_id)
    await pool.rows(f"UPDATE shares SET {change}")
    (row,) = await pool.rows("SELECT key_id, ceremony FROM shares")
    stored = await shares.find(row.key_id, row.ceremony)
    assert stored is not None
    with pytest.raises(Failed) as error:
        await shares.open(stored)
    assert error.value.code == "share_unusable"
    assert error.value.transient  # others can sign without this signer


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_wallets_share_does_not_open_as_a_bare_keys(pool, shares: Shares, is_open):
    """Else who writes this database has the wallet's key sign what its network's rules refuse."""
    made = new_key(Protocol.DKLS23_SECP256K1)
    await put(pool, await shares.prepare_row(made.confirmation, Network.ETHEREUM, made.ours))
    share = await shares.open(await found(shares, made))
    if not is_open:
        shares.close(made.key_id)
    await pool.rows("UPDATE shares SET network = NULL")
    with pytest.raises(Failed, match="its row was changed"):
        await shares.open(await found(shares, made))
    await pool.rows("UPDATE shares SET network = 'Ethereum'")
    assert (await shares.open(await found(shares, made))).public_key == share.public_key
    assert shares.problem() is None


async def test_a_repaired_share_is_bound_to_its_network(pool, shares: Shares):
    made = new_key()
    row = await shares.repaired_row(made.repair_ticket(), Network.SOLANA, made.repaired())
    await put(pool, row)
    assert (await shares.open(await found(shares, made))).is_repaired
    await pool.rows("UPDATE shares SET network = NULL")
    with pytest.raises(Failed, match="its row was changed"):
        await shares.open(await found(shares, made))


async def test_a_share_under_a_key_that_is_not_here_does_not_open(pool, shares: Shares, tmp_path):
    stored = await confirm(pool, shares, new_key())
    elsewhere = EncryptionKeys([create_key_file(tmp_path / "another.key")], [])
    with pytest.raises(Failed, match="which is not here"):
        await Shares(pool, elsewhere).open(stored)


async def test_a_share_that_is_open_is_not_read_again(pool, shares: Shares):
    made = new_key()
    stored = await activate(pool, shares, made)
    opened = await shares.open(stored)
    await pool.rows("UPDATE shares SET ciphertext = '\\x00'")
    assert await shares.open(stored) is opened
    shares.close(made.key_id)
    with pytest.raises(Failed):
        await shares.open(stored)


async def test_a_share_that_did_not_open_is_tried_again(pool, shares: Shares):
    stored = await activate(pool, shares, new_key())
    await pool.rows("UPDATE shares SET ciphertext = '\\x00' || ciphertext")
    with pytest.raises(Failed):
        await shares.open(stored)
    await pool.rows("UPDATE shares SET ciphertext = substring(ciphertext from 2)")
    assert (await shares.open(stored)).public_key == stored.public_key


async def test_shares_that_cannot_be_used_are_counted_until_they_can(pool, shares: Shares):
    keys = [await activate(pool, shares, new_key()) for _ in range(2)]
    assert shares.problem() is None
    await pool.rows("UPDATE shares SET ciphertext = '\\x00' || ciphertext")
    for stored in (*keys, *keys):
        with pytest.raises(Failed):
            await shares.open(stored)
    said = shares.problem()
    assert said is not None
    assert said.startswith("2 cannot be used")
    await pool.rows("UPDATE shares SET ciphertext = substring(ciphertext from 2)")
    await shares.open(keys[0])
    assert shares.problem() != said
    shares.close(keys[1].key_id)  # as when another one has taken its place
    assert shares.problem() is None


async def test_the_share_of_an_earlier_set_is_closed_when_the_next_one_signs(
    pool, shares: Shares, keys
):
    made = new_key()
    before = await activate(pool, shares, made)
    await shares.open(before)
    # another process of this signer activates the next set
    await activate(pool, Shares(pool, keys), made.refreshed())
    await shares.active(made.key_id)
    with pytest.raises(Failed, match="erased"):
        await shares.open(before)


async def test_a_share_that_is_erased_is_closed_though_it_was_used_until_then(pool, shares: Shares):
    made = new_key()
    before = await activate(pool, shares, made)
    following = await promise(pool, shares, made.refreshed())
    activating = shares.activate_row(following)
    await shares.open(before)  # to sign, while the row is on its way
    await put(pool, activating)
    with pytest.raises(Failed, match="erased"):
        await shares.open(before)


async def test_a_share_that_is_abandoned_or_discarded_is_closed_too(pool, shares: Shares):
    first, second = new_key(), new_key()
    confirmed = await confirm(pool, shares, first)
    promised = await promise(pool, shares, second)
    erasing = [shares.abandon_row(first.key_id, first.ceremony), shares.discard_row(promised)]
    for stored in (confirmed, promised):
        await shares.open(stored)
    await put(pool, *erasing)
    for stored in (confirmed, promised):
        with pytest.raises(Failed, match="erased"):
            await shares.open(stored)


async def test_a_confirmed_share_signs_nothing_until_it_is_activated(pool, shares: Shares):
    made = new_key()
    stored = await confirm(pool, shares, made)
    assert stored.is_confirmed
    assert await shares.active(made.key_id) is None
    assert await shares.waiting(made.key_id) == stored


async def test_a_promised_share_signs_nothing_until_it_is_activated(pool, shares: Shares):
    made = new_key()
    stored = await promise(pool, shares, made)
    assert stored.is_promised
    assert await shares.active(made.key_id) is None
    assert await shares.waiting(made.key_id) == stored


async def test_a_share_that_has_not_signed_is_not_promised(pool, shares: Shares):
    stored = await confirm(pool, shares, new_key())
    with pytest.raises(NotNullViolationError):
        await put(pool, shares.promise_row(stored))


async def test_an_ecdsa_share_is_not_promised_before_it_has_signed_with_every_other_signer(
    pool, shares: Shares
):
    made = new_key(Protocol.DKLS23_SECP256K1)
    stored = await confirm(pool, shares, made)
    for _ in range(2):
        await put(pool, shares.proved_row(stored, OTHERS[:1]))
        with pytest.raises(NotNullViolationError):
            await put(pool, shares.promise_row(stored))
    await put(pool, shares.proved_row(stored, OTHERS[1:]), shares.promise_row(stored))
    assert (await found(shares, made)).is_promised


async def test_a_frost_share_is_promised_once_it_has_signed(pool, shares: Shares):
    made = new_key()
    stored = await confirm(pool, shares, made)
    await put(pool, shares.proved_row(stored, OTHERS[:1]), shares.promise_row(stored))
    assert (await found(shares, made)).is_promised


async def test_a_share_that_was_not_promised_is_not_activated(pool, shares: Shares):
    stored = await confirm(pool, shares, new_key())
    await put(pool, shares.proved_row(stored, OTHERS))
    with pytest.raises(NotNullViolationError):
        await put(pool, shares.activate_row(stored))


async def test_activating_erases_the_set_before(pool, shares: Shares):
    made = new_key()
    await activate(pool, shares, made)
    following = made.refreshed()
    stored = await activate(pool, shares, following)
    assert await shares.active(made.key_id) == stored
    assert (await found(shares, made)).state is ShareState.RETIRED
    assert await erased(pool, made.ceremony)
    assert not await erased(pool, following.ceremony)


async def test_until_it_is_activated_the_set_before_stays(pool, shares: Shares):
    made = new_key()
    before = await activate(pool, shares, made)
    await confirm(pool, shares, made.refreshed())
    assert await shares.active(made.key_id) == before
    assert (await shares.open(before)).public_key == before.public_key


async def test_activating_twice_changes_nothing(pool, shares: Shares):
    stored = await activate(pool, shares, new_key())
    await put(pool, shares.activate_row(stored))
    assert await shares.active(stored.key_id) == stored


async def test_an_older_set_does_not_come_into_use_again(pool, shares: Shares):
    """A control plane that kept old confirmations cannot have a signer go back."""
    made = new_key()
    await activate(pool, shares, made.refreshed())
    older = await promise(pool, shares, made)
    with pytest.raises(UniqueViolationError):
        await put(pool, shares.activate_row(older))
    assert (await found(shares, made)).is_promised
    active = await shares.active(made.key_id)
    assert active is not None
    assert active.generation == 1


async def test_another_key_never_takes_the_place_of_one_in_use(pool, shares: Shares):
    """A control plane that has a key generated under the id of another one cannot erase that."""
    made = new_key()
    stored = await activate(pool, shares, made)
    for generation in (0, 7):
        another = replace(new_key(), key_id=made.key_id, generation=generation)
        with pytest.raises(NotNullViolationError):
            await confirm(pool, shares, another)
    assert await shares.active(made.key_id) == stored


async def test_activating_erases_no_set_of_another_key(pool, shares: Shares):
    made = new_key()
    await activate(pool, shares, made)
    following = await promise(pool, shares, made.refreshed())
    await pool.rows("UPDATE shares SET public_key = sha256(public_key) WHERE state = 'active'")
    with pytest.raises(UniqueViolationError):
        await put(pool, shares.activate_row(following))
    assert not await erased(pool, made.ceremony)


async def test_a_key_that_was_never_in_use_is_generated_again_as_another_one(pool, shares: Shares):
    """Its first set was abandoned; the next ceremony makes other shares."""
    made = new_key()
    await confirm(pool, shares, made)
    await put(pool, shares.abandon_row(made.key_id, made.ceremony))
    another = replace(new_key(), key_id=made.key_id)
    assert (await activate(pool, shares, another)).public_key == another.ours.public_key


@pytest.mark.parametrize("wait", [confirm, promise])
async def test_of_two_sets_of_a_key_only_one_can_wait(pool, shares: Shares, wait):
    """Else, with both promised by all, some signers could be told of one and some of the other."""
    made = new_key()
    await activate(pool, shares, made)
    await wait(pool, shares, made.refreshed())
    with pytest.raises(UniqueViolationError):
        await confirm(pool, shares, made.refreshed())


async def test_an_abandoned_set_is_never_confirmed(pool, shares: Shares):
    made = new_key()
    await put(pool, shares.abandon_row(made.key_id, made.ceremony))
    with pytest.raises(UniqueViolationError):
        await confirm(pool, shares, made)
    assert await shares.find(made.key_id, made.ceremony) is None


async def test_a_confirmed_share_that_is_abandoned_is_erased_for_good(pool, shares: Shares):
    made = new_key()
    stored = await confirm(pool, shares, made)
    proved = shares.proved_row(stored, OTHERS)
    await put(pool, proved, shares.abandon_row(made.key_id, made.ceremony))
    assert (await found(shares, made)).state is ShareState.ABANDONED
    assert await erased(pool, made.ceremony)
    for row in (shares.promise_row(stored), shares.activate_row(stored)):
        with pytest.raises(NotNullViolationError):
            await put(pool, row)
    with pytest.raises(UniqueViolationError):
        await confirm(pool, shares, made)


@pytest.mark.parametrize("kept", [promise, activate])
async def test_a_set_that_was_promised_is_not_abandoned(pool, shares: Shares, kept):
    made = new_key()
    stored = await kept(pool, shares, made)
    with pytest.raises(NotNullViolationError):
        await put(pool, shares.abandon_row(made.key_id, made.ceremony))
    assert (await shares.open(stored)).public_key == stored.public_key


async def test_abandoning_twice_changes_nothing(pool, shares: Shares):
    key_id, ceremony = uuid4(), uuid4()
    for _ in range(2):
        await put(pool, shares.abandon_row(key_id, ceremony))
    (row,) = await pool.rows("SELECT state FROM shares")
    assert row.state == "abandoned"


async def test_a_set_is_abandoned_twice_in_one_statement(pool, shares: Shares):
    made = new_key()
    await confirm(pool, shares, made)
    row = shares.abandon_row(made.key_id, made.ceremony)
    values = {name: [value, value] for name, value in row.values.items()}
    async with pool.transaction() as connection:
        await connection.rows(row.sql, values)
    assert (await found(shares, made)).state is ShareState.ABANDONED


async def test_a_discarded_share_is_erased_for_good(pool, shares: Shares):
    made = new_key()
    stored = await promise(pool, shares, made)
    await put(pool, shares.discard_row(stored))
    assert (await found(shares, made)).state is ShareState.DISCARDED
    assert await erased(pool, made.ceremony)
    with pytest.raises(NotNullViolationError):
        await put(pool, shares.activate_row(stored))
    with pytest.raises(IntegrityConstraintViolationError):
        await confirm(pool, shares, made)


@pytest.mark.parametrize("state", [confirm, activate])
async def test_a_share_that_is_not_promised_is_not_discarded(pool, shares: Shares, state):
    made = new_key()
    stored = await state(pool, shares, made)
    with pytest.raises(NotNullViolationError):
        await put(pool, shares.discard_row(stored))
    assert await found(shares, made) == stored


async def test_one_change_that_is_not_allowed_keeps_out_all_of_its_transaction(
    pool, shares: Shares
):
    made = new_key()
    stored = await activate(pool, shares, made)
    other = new_key()
    row = await shares.prepare_row(other.confirmation, None, other.ours)
    with pytest.raises(NotNullViolationError):
        await put(pool, row, shares.discard_row(stored))
    assert await shares.find(other.key_id, other.ceremony) is None


async def test_changes_of_many_keys_go_in_one_statement(pool, shares: Shares):
    keys = [new_key() for _ in range(3)]
    rows = [await shares.prepare_row(each.confirmation, None, each.ours) for each in keys]
    values = {name: [row.values[name] for row in rows] for name in rows[0].values}
    async with pool.transaction() as connection:
        await connection.rows(rows[0].sql, values)
    for each in keys:
        stored = await found(shares, each)
        assert (await shares.open(stored)).transcript() == each.ours.transcript()


async def test_a_repaired_share_signs_nothing_and_goes_into_the_refresh(pool, shares: Shares):
    made = new_key()
    row = await shares.repaired_row(made.repair_ticket(), None, made.repaired())
    await put(pool, row)
    assert await shares.active(made.key_id) is None
    stored = await found(shares, made)
    assert stored.is_in_use
    repaired = await shares.open(stored)
    assert repaired.is_repaired
    refreshed = parties.refresh({**made.shares, 1: repaired})
    following = type(made)(refreshed, made.key_id, generation=1)
    assert (await activate(pool, shares, following)).is_active
    assert (await found(shares, made)).state is ShareState.RETIRED


async def test_a_repaired_share_takes_the_place_of_one_that_is_damaged(pool, shares: Shares):
    made = new_key()
    await activate(pool, shares, made)
    await pool.rows("UPDATE shares SET ciphertext = '\\x00'")
    shares.close(made.key_id)
    row = await shares.repaired_row(made.repair_ticket(), None, made.repaired())
    await put(pool, row)
    assert (await shares.open(await found(shares, made))).is_repaired


async def abandon(pool: Pool, shares: Shares, made: SetOfShares) -> None:
    await put(pool, shares.abandon_row(made.key_id, made.ceremony))


async def confirm_and_abandon(pool: Pool, shares: Shares, made: SetOfShares) -> None:
    await confirm(pool, shares, made)
    await abandon(pool, shares, made)


async def promise_and_discard(pool: Pool, shares: Shares, made: SetOfShares) -> None:
    stored = await promise(pool, shares, made)
    await put(pool, shares.discard_row(stored))


@pytest.mark.parametrize(
    "before", [confirm, promise, abandon, confirm_and_abandon, promise_and_discard]
)
async def test_a_repaired_share_takes_the_place_of_one_that_never_came_into_use_here(
    pool, shares: Shares, before
):
    """The others use the set; this signer has not heard of it, or has thrown its share away."""
    made = new_key()
    await activate(pool, shares, made)
    following = made.refreshed()
    await before(pool, shares, following)
    row = await shares.repaired_row(following.repair_ticket(), None, following.repaired())
    await put(pool, row)
    repaired = await found(shares, following)
    assert repaired.state is ShareState.REPAIRED
    assert (await shares.open(repaired)).is_repaired
    assert (await found(shares, made)).state is ShareState.RETIRED


async def test_a_repaired_share_takes_the_place_of_an_older_set(pool, shares: Shares):
    """As when the database was restored from before a refresh."""
    made = new_key()
    await activate(pool, shares, made)
    following = made.refreshed()
    row = await shares.repaired_row(following.repair_ticket(), None, following.repaired())
    await put(pool, row)
    assert (await found(shares, following)).state is ShareState.REPAIRED
    assert (await found(shares, made)).state is ShareState.RETIRED


async def test_a_share_of_another_key_does_not_pass_for_a_repaired_one(pool, shares: Shares):
    made, other = new_key(), new_key()
    await activate(pool, shares, made)
    row = await shares.repaired_row(made.repair_ticket(), None, other.repaired())
    with pytest.raises(NotNullViolationError):
        await put(pool, row)


OTHER_FACTS = [
    "network = 'Solana'",
    "network = NULL",
    "group_name = 'another'",
    "threshold = 3",
    "signers = ARRAY['signer-1', 'signer-3', 'signer-2']",
    "chain_code = sha256('another')",
    "protocol = 'frost-secp256k1-tr'",
]


@pytest.mark.parametrize("other", OTHER_FACTS)
async def test_no_set_takes_the_place_of_one_with_another_fact(pool, shares: Shares, other):
    """Whatever a handler has let pass, the database keeps what the key is."""
    made = new_key()
    await put(pool, await shares.prepare_row(made.confirmation, Network.BITCOIN, made.ours))
    stored = await found(shares, made)
    await put(pool, shares.proved_row(stored, OTHERS), shares.promise_row(stored))
    await put(pool, shares.activate_row(stored))
    following = made.refreshed()
    row = await shares.prepare_row(following.confirmation, Network.BITCOIN, following.ours)
    await put(pool, row)
    new = await found(shares, following)
    await put(pool, shares.proved_row(new, OTHERS), shares.promise_row(new))
    await pool.rows(f"UPDATE shares SET {other} WHERE state = 'active'")
    with pytest.raises(UniqueViolationError):
        await put(pool, shares.activate_row(new))
    await pool.rows("DELETE FROM shares WHERE state = 'promised'")
    with pytest.raises(NotNullViolationError):  # nor is it confirmed, or repaired
        await put(pool, row)
    repair = await shares.repaired_row(made.repair_ticket(), Network.BITCOIN, made.repaired())
    with pytest.raises(NotNullViolationError):
        await put(pool, repair)
    assert (await found(shares, made)).is_active
