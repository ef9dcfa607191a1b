"""Import and copy: a key's shares come from dealings, and sign after a refresh."""

import hashlib
import pickle
from itertools import combinations, groupby

import pytest

from mpc import _native as native
from tests.unit.mpc.native import dealers, dealing_vectors, feldman, parties
from tests.unit.mpc.native.dealing_vectors import Vector
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.native.verification import is_valid

DIGEST = hashlib.sha256(b"a message").digest()
VECTORS = dealing_vectors.read()
CASES = [list(lines) for _, lines in groupby(VECTORS, key=lambda vector: vector.case)]


def secrets_of(shares: dict[int, native.Share]) -> dict[int, int]:
    return {index: int.from_bytes(share.secret_share()) for index, share in shares.items()}


def sign_with_every_quorum(shares: dict[int, native.Share], public_key: bytes) -> None:
    assert not any(share.is_repaired for share in shares.values())
    for quorum in combinations(shares, shares[1].threshold):
        signature = parties.sign(shares, quorum, DIGEST)
        assert is_valid(shares[1].protocol, public_key, DIGEST, signature)


def test_the_vectors_are_what_the_second_implementation_computes() -> None:
    assert dealing_vectors.made() == VECTORS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].case)
def test_the_vectors_give_the_shares_that_the_second_implementation_adds_up(
    case: list[Vector],
) -> None:
    protocol, curve = case[0].protocol, feldman.curve_of(case[0].protocol)
    quorum, signers = case[0].quorum_indices(), case[0].signers
    whole = feldman.private_key(curve, {one.index: int(one.share, 16) for one in case})
    sums = [
        feldman.added(curve, points) for points in zip(*(one.points() for one in case), strict=True)
    ]
    received: dealers.Received = {
        index: {
            one.index: (
                native.dealt_constant(
                    protocol, quorum, one.index, bytes.fromhex(one.verifying_share)
                ),
                one.points(),
                one.sub_share(index),
            )
            for one in case
        }
        for index in range(1, signers + 1)
    }
    public_key = dealers.public_key(protocol, whole)
    shares = dealers.hollow(protocol, public_key, len(sums), received)
    assert sums[0] == curve.base_times(whole)
    for index, secret in secrets_of(shares).items():
        assert secret == sum(int.from_bytes(one.sub_share(index)) for one in case) % curve.order
        assert shares[index].verifying_shares == {
            j: feldman.value_of(curve, sums, j) for j in range(1, signers + 1)
        }
        assert shares[index].verifying_shares[index] == curve.base_times(secret)
    for chosen in combinations(shares, len(sums)):
        points = {index: secrets_of(shares)[index] for index in chosen}
        assert feldman.private_key(curve, points) == whole


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_what_a_signer_deals_is_what_the_second_implementation_expects(protocol: str) -> None:
    curve, shares, quorum = feldman.curve_of(protocol), key(protocol), [3, 2]
    terms = 0
    for dealer in quorum:
        dealing = native.deal(shares[dealer], quorum, 3, 5)
        values = {j: int.from_bytes(value) for j, value in dealing.sub_shares.items()}
        assert sorted(values) == [1, 2, 3, 4, 5]
        for index, value in values.items():
            expected = feldman.value_of(curve, dealing.commitments, index)
            assert curve.base_times(value) == expected
        term = feldman.private_key(curve, {j: values[j] for j in (1, 3, 5)})
        secret = secrets_of(shares)[dealer]
        assert term == feldman.lagrange(curve, quorum, dealer) * secret % curve.order
        assert len(dealing.commitments) == 3
        own = shares[1].verifying_shares[dealer]
        constant = native.dealt_constant(protocol, quorum, dealer, own)
        assert dealing.commitments[0] == constant
        assert constant == curve.times(own, feldman.lagrange(curve, quorum, dealer))
        terms += term
    assert dealers.public_key(protocol, terms % curve.order) == shares[1].public_key


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_key_moves_to_a_larger_group_and_back(protocol: str) -> None:
    """From 2-of-3 to 3-of-5 and to another 2-of-3. Every quorum signs."""
    old = key(protocol)
    public_key, chain_code = old[1].public_key, old[1].chain_code
    received = dealers.copied(old, [1, 3], 3, 5)
    larger = parties.refresh(
        dealers.hollow(protocol, public_key, 3, received, chain_code=chain_code)
    )
    sign_with_every_quorum(larger, public_key)
    received = dealers.copied(larger, [5, 1, 4], 2, 3)
    back = parties.refresh(dealers.hollow(protocol, public_key, 2, received, chain_code=chain_code))
    sign_with_every_quorum(back, public_key)
    sign_with_every_quorum(old, public_key)  # a copy leaves the old group as it was
    assert {share.chain_code for share in back.values()} == {chain_code}
    assert {share.taproot_tweaked for share in back.values()} == {protocol == TAPROOT}


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize(("threshold", "signers"), [(2, 2), (2, 3)])
def test_an_imported_key_signs_with_every_quorum(
    protocol: str, threshold: int, signers: int
) -> None:
    private_key = int.from_bytes(hashlib.sha256(b"a key").digest()) >> 4
    public_key = dealers.public_key(protocol, private_key)
    received = dealers.imported(protocol, private_key, threshold, signers)
    dealt = dealers.hollow(protocol, public_key, threshold, received)
    stored = {index: native.Share.load(share.to_bytes()) for index, share in dealt.items()}
    shares = parties.refresh(stored)
    sign_with_every_quorum(shares, public_key)
    assert {share.chain_code for share in shares.values()} == {dealers.chain_code(protocol)}
    curve = feldman.curve_of(protocol)
    points = {index: secrets_of(shares)[index] for index in range(1, threshold + 1)}
    assert feldman.private_key(curve, points) == private_key
    assert secrets_of(shares)[1] != secrets_of(dealt)[1]


@pytest.mark.parametrize("private_key", range(1, 7))
def test_a_taproot_key_of_either_parity_is_imported_as_it_is(private_key: int) -> None:
    received = dealers.imported(TAPROOT, private_key, 2, 3)
    public_key = dealers.public_key(TAPROOT, private_key)
    shares = parties.refresh(dealers.hollow(TAPROOT, public_key, 2, received))
    assert {share.public_key for share in shares.values()} == {public_key}
    assert all(share.taproot_tweaked for share in shares.values())
    sign_with_every_quorum(shares, public_key)


@pytest.mark.parametrize("protocol", [ED25519, TAPROOT])
def test_the_largest_group_takes_a_key(protocol: str) -> None:
    received = dealers.imported(protocol, 5, 16, native.MAX_SIGNERS)
    shares = dealers.hollow(protocol, dealers.public_key(protocol, 5), 16, received)
    assert len({share.transcript() for share in shares.values()}) == 1


@pytest.mark.parametrize("private_key", [1, -1])
@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_the_smallest_and_the_largest_private_key_are_dealt(
    protocol: str, private_key: int
) -> None:
    curve = feldman.curve_of(protocol)
    received = dealers.imported(protocol, private_key % curve.order, 2, 3)
    public_key = dealers.public_key(protocol, private_key % curve.order)
    assert dealers.hollow(protocol, public_key, 2, received)[3].public_key == public_key


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_dealt_share_neither_signs_nor_helps_nor_deals_before_the_refresh(protocol: str) -> None:
    received = dealers.imported(protocol, 7, 2, 3)
    share = dealers.hollow(protocol, dealers.public_key(protocol, 7), 2, received)[1]
    assert share.is_repaired
    with pytest.raises(native.LocalMisuse, match="only once refreshed"):
        native.Signing(share, [1, 2], DIGEST, parties.session_id())
    with pytest.raises(native.LocalMisuse, match="only once refreshed"):
        native.Repair(protocol, 1, 3, [1, 2], share, parties.session_id())
    with pytest.raises(native.LocalMisuse, match="only once refreshed"):
        native.deal(share, [1, 2], 2, 3)


def test_nothing_of_a_dealing_is_printed_or_pickled() -> None:
    dealing = native.deal(key(ED25519)[1], [1, 2], 2, 3)
    assert not any(sub_share.hex() in repr(dealing) for sub_share in dealing.sub_shares.values())
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(dealing)


def test_a_share_is_dealt_with_another_polynomial_each_time() -> None:
    for protocol in (DKLS, ED25519):
        one, other = (native.deal(key(protocol)[1], [1, 2], 3, 3) for _ in range(2))
        assert one.commitments[0] == other.commitments[0]
        assert not set(one.commitments[1:]) & set(other.commitments[1:])
        assert not set(one.sub_shares.values()) & set(other.sub_shares.values())
