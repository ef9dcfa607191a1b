"""Feldman's dealing of a private key: vectors of RFC 9591, and sub-shares that do not belong."""

from collections.abc import Mapping
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add

from custody.client.importing import splitting
from custody.client.importing.curves import scalar_of_seed
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.points import value_of_commitments
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.splitting import Dealing, share_out, split, verify_share
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    Curve,
)
from custody.wire.group_sizes import MAX_SIGNERS
from custody.wire.points import GROUP_ORDER, multiple_of_base
from mpc.recover.polynomials import value_at_zero

MPC_ALGORITHMS = (ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1)
CURVES = (Curve.SECP256K1, Curve.ED25519)


def little(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text), "little")


# RFC 9591, appendices E.1 and E.5: secret and coefficient, group public key, shares of 1 to 3
RFC_9591 = [
    (
        Curve.ED25519,
        [
            little("7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304"),
            little("178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204"),
        ],
        "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673",
        [
            little("929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509"),
            little("a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d"),
            little("d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02"),
        ],
    ),
    (
        Curve.SECP256K1,
        [
            0x0D004150D27C3BF2A42F312683D35FAC7394B1E9E318249C1BFE7F0795A83114,
            0xFBF85EADAE3058EA14F19148BB72B45E4399C0B16028ACAF0395C9B03C823579,
        ],
        "02f37c34b66ced1fb51c34a90bdae006901f10625cc06c4f64663b0eae87d87b4f",
        [
            0x08F89FFE80AC94DCB920C26F3F46140BFC7F95B493F8310F5FC1EA2B01F4254C,
            0x04F0FEAC2EDCEDC6CE1253B7FAB8C86B856A797F44D83D82A385554E6E401984,
            0x00E95D59DD0D46B0E303E500B62B7CCB0E555D49F5B849F5E748C071DA8C0DBC,
        ],
    ),
]


def combine(curve: Curve, sub_shares: Mapping[int, bytes]) -> int:
    """Shamir's interpolation at 0, solved as linear equations: no code of the product."""
    order, size = GROUP_ORDER[curve], len(sub_shares)
    rows = [
        [*(pow(index, power, order) for power in range(size)), int.from_bytes(share)]
        for index, share in sub_shares.items()
    ]
    for column in range(size):
        pivot = next(row for row in rows[column:] if row[column])
        rows.remove(pivot)
        inverse = pow(pivot[column], -1, order)
        pivot = [value * inverse % order for value in pivot]
        rows = [
            [(a - row[column] * b) % order for a, b in zip(row, pivot, strict=True)] for row in rows
        ]
        rows.insert(column, pivot)
    return rows[0][-1]


def key_of(algorithm: Algorithm, number: int = 7) -> PrivateKey:
    return PrivateKey(algorithm, number.to_bytes(32))


def indexed(dealing: Dealing) -> dict[int, bytes]:
    return dict(enumerate(dealing.sub_shares, start=1))


@pytest.mark.parametrize(("curve", "coefficients", "public_key", "shares"), RFC_9591)
def test_the_shares_are_those_of_rfc_9591(curve, coefficients, public_key, shares):
    dealing = share_out(curve, coefficients, 3)
    assert [int.from_bytes(each) for each in dealing.sub_shares] == shares
    assert dealing.commitments[0].hex() == public_key
    assert len(dealing.commitments) == 2


@settings(max_examples=40)
@given(st.sampled_from(MPC_ALGORITHMS), st.integers(1, 2**252), st.data())
def test_any_t_sub_shares_give_the_key_and_each_fits_the_commitments(algorithm, number, data):
    signers = data.draw(st.integers(2, 6))
    threshold = data.draw(st.integers(2, signers))
    key = key_of(algorithm, number)
    dealing = split(key, threshold, signers)
    assert len(dealing.sub_shares) == signers
    assert len(dealing.commitments) == threshold
    chosen = data.draw(st.permutations(sorted(indexed(dealing))))[:threshold]
    some = {index: indexed(dealing)[index] for index in chosen}
    assert combine(algorithm.curve, some) == key.scalar
    numbers = {index: int.from_bytes(share) for index, share in some.items()}
    assert value_at_zero(algorithm.curve, numbers) == key.scalar
    for index, share in some.items():
        verify_share(algorithm.curve, dealing.commitments, index, share)


@pytest.mark.parametrize("algorithm", MPC_ALGORITHMS)
def test_the_first_commitment_is_the_public_key(algorithm):
    """Of Schnorr with the first byte of an even y."""
    for number in range(1, 6):
        key = key_of(algorithm, number)
        commitment = split(key, 2, 3).commitments[0]
        prefix = b"\x02" if algorithm == SCHNORR_SECP256K1 else b""
        assert commitment == prefix + key.public_key


def test_ed25519_shares_the_scalar_and_not_the_seed():
    key = key_of(EDDSA_ED25519)
    shares = indexed(split(key, 2, 2))
    assert combine(Curve.ED25519, shares) == scalar_of_seed(key.secret)
    assert combine(Curve.ED25519, shares) != int.from_bytes(key.secret)


@pytest.mark.parametrize("algorithm", MPC_ALGORITHMS)
def test_the_largest_group_works_and_t_less_1_sub_shares_give_another_key(algorithm):
    key = key_of(algorithm)
    shares = indexed(split(key, MAX_SIGNERS, MAX_SIGNERS))
    assert combine(algorithm.curve, shares) == key.scalar
    del shares[16]
    assert combine(algorithm.curve, shares) != key.scalar


def test_numbers_at_the_limits_are_split_right():
    for number in (1, 2, GROUP_ORDER[Curve.SECP256K1] - 1):
        shares = indexed(split(key_of(ECDSA_SECP256K1, number), 2, 3))
        for pair in combinations(shares, 2):
            assert combine(Curve.SECP256K1, {each: shares[each] for each in pair}) == number


def test_each_dealing_has_other_coefficients():
    dealings = [split(key_of(ECDSA_SECP256K1), 3, 3) for _ in range(20)]
    for power in (1, 2):
        assert len({each.commitments[power] for each in dealings}) == 20
    assert len({share for each in dealings for share in each.sub_shares}) == 60


def test_a_dealing_shows_no_sub_share():
    dealing = split(key_of(ECDSA_SECP256K1), 2, 2)
    assert "sub_shares" not in repr(dealing)
    assert all(repr(share)[2:-1] not in repr(dealing) for share in dealing.sub_shares)


@pytest.mark.parametrize(("threshold", "signers"), [(0, 3), (1, 3), (3, 2), (2, 17), (17, 17)])
def test_impossible_groups_are_refused(threshold, signers):
    with pytest.raises(ValueError, match=f"threshold {threshold} of {signers}"):
        split(key_of(ECDSA_SECP256K1), threshold, signers)


def test_there_are_no_shares_of_p256():
    with pytest.raises(BadPrivateKey, match="not held in shares") as caught:
        split(key_of(ECDSA_SECP256R1), 2, 3)
    assert caught.value.code is KeyFault.UNSUPPORTED


@pytest.mark.parametrize("curve", CURVES)
def test_a_coefficient_of_0_or_above_the_order_is_refused(curve):
    for coefficient in (0, GROUP_ORDER[curve], -1):
        with pytest.raises(ValueError, match="below the order"):
            share_out(curve, [7, coefficient], 2)


def test_a_machine_that_calculates_wrong_gives_out_nothing(monkeypatch):
    right = splitting._value_at
    monkeypatch.setattr(splitting, "_value_at", lambda *values: right(*values) ^ 1)
    with pytest.raises(RuntimeError, match="a sub-share of our own is wrong"):
        split(key_of(ECDSA_SECP256K1), 2, 3)


# Sub-shares that do not belong


@pytest.fixture(params=[ECDSA_SECP256K1, EDDSA_ED25519], ids=str)
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    found: Algorithm = request.param
    return found


def refused(algorithm: Algorithm, commitments: object, index: int, share: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each caller says which fault it makes
        verify_share(algorithm.curve, commitments, index, share)  # type: ignore[arg-type]


def test_another_sub_share_is_refused(algorithm):
    dealing = split(key_of(algorithm), 2, 3)
    first, second = dealing.sub_shares[:2]
    verify_share(algorithm.curve, dealing.commitments, 1, first)
    refused(algorithm, dealing.commitments, 2, first)
    refused(algorithm, dealing.commitments, 1, second)
    for place in (0, 31):
        changed = bytearray(first)
        changed[place] ^= 1
        refused(algorithm, dealing.commitments, 1, bytes(changed))


def test_other_commitments_are_refused(algorithm):
    dealing, other = split(key_of(algorithm), 3, 3), split(key_of(algorithm), 3, 3)
    constant, linear, square = dealing.commitments
    changes = [
        (constant, linear),
        (constant, square, linear, linear),
        (linear, constant, square),
        (constant, linear, other.commitments[2]),
        (constant, other.commitments[1], square),
    ]
    for changed in changes:
        refused(algorithm, changed, 2, dealing.sub_shares[1])
    refused(algorithm, (), 2, dealing.sub_shares[1])


def test_sizes_and_indices_outside_the_group_are_refused(algorithm):
    dealing = split(key_of(algorithm), 2, 3)
    share = dealing.sub_shares[0]
    for wrong in (b"", share[:-1], share + b"\0", b"\0" + share):
        refused(algorithm, dealing.commitments, 1, wrong)
    for index in (-1, 0, 17):
        refused(algorithm, dealing.commitments, index, share)
    order = GROUP_ORDER[algorithm.curve]
    refused(algorithm, dealing.commitments, 1, bytes(32))
    refused(algorithm, dealing.commitments, 1, order.to_bytes(32))


def test_a_number_is_not_accepted_a_second_time_above_the_order():
    """On Ed25519 x + L fits into 32 bytes as well."""
    dealing = split(key_of(EDDSA_ED25519), 2, 3)
    again = int.from_bytes(dealing.sub_shares[0]) + GROUP_ORDER[Curve.ED25519]
    refused(EDDSA_ED25519, dealing.commitments, 1, again.to_bytes(32))


def test_commitments_that_are_not_points_of_the_group_are_refused(algorithm):
    dealing = split(key_of(algorithm), 2, 3)
    share = dealing.sub_shares[0]
    for wrong in (b"", bytes(32), bytes(33), b"\x04" + bytes(32), b"\xff" * 32, b"\xff" * 33):
        refused(algorithm, (dealing.commitments[0], wrong), 1, share)
        refused(algorithm, (wrong, dealing.commitments[1]), 1, share)


def test_a_commitment_with_a_part_of_small_order_is_refused():
    """The sum with a point of order 8 is on the curve, and 8 times the index hides the part."""
    order_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    dealing = split(key_of(EDDSA_ED25519), 2, 8)
    mixed = crypto_core_ed25519_add(dealing.commitments[1], order_8)
    refused(EDDSA_ED25519, (dealing.commitments[0], mixed), 8, dealing.sub_shares[7])


def test_commitments_that_cancel_out_are_refused(algorithm):
    """f(1) = 0: the sum is the point at infinity, which has no encoding or no order."""
    order = GROUP_ORDER[algorithm.curve]
    commitments = [multiple_of_base(algorithm.curve, number) for number in (5, order - 5)]
    refused(algorithm, commitments, 1, (1).to_bytes(32))
    refused(algorithm, commitments, 1, bytes(32))


def test_the_value_of_commitments_is_the_point_of_the_value(algorithm):
    curve = algorithm.curve
    commitments = [multiple_of_base(curve, number) for number in (5, 3, 2)]
    for index in (1, 2, 16):
        value = 5 + 3 * index + 2 * index**2
        assert value_of_commitments(curve, commitments, index) == multiple_of_base(curve, value)
