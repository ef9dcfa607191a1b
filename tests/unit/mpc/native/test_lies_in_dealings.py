"""A dealing that lies is refused, and its dealer is named."""

from collections.abc import Callable
from typing import Any

import coincurve
import pytest

from mpc import _native as native
from tests.unit.mpc.native import dealers, feldman, parties
from tests.unit.mpc.native.dealers import Dealt
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key

US = 2
LIAR = 3
QUORUM = (1, LIAR)
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
"""A point of order 8 on Ed25519."""
NO_POINT = "is not a point of the group, or is the identity"


def received(protocol: str) -> dict[int, Dealt]:
    """What signer US of a new 2-of-3 receives from both dealers."""
    return dealers.copied(key(protocol), QUORUM, 2, 3)[US]


def combined(
    protocol: str, dealings: dict[int, Dealt], public_key: bytes = b"", **other: Any
) -> native.Share:
    return native.dealt_share(
        **{
            "protocol": protocol,
            "index": US,
            "threshold": 2,
            "signers": 3,
            "public_key": public_key or key(protocol)[1].public_key,
            "chain_code": dealers.chain_code(protocol),
            "session_id": bytes(32),
            "dealings": dealings,
            **other,
        }
    )


def culprits(protocol: str, dealings: dict[int, Dealt], reason: str) -> tuple[int, ...]:
    with pytest.raises(native.ProtocolAbort, match=reason) as refused:
        combined(protocol, dealings)
    return refused.value.culprits


Lie = Callable[[Dealt, str], Dealt]


def other_sub_share(true: Dealt, protocol: str) -> Dealt:
    expected, commitments, sub_share = true
    order = feldman.curve_of(protocol).order
    return expected, commitments, ((int.from_bytes(sub_share) + 1) % order).to_bytes(32)


def too_large_sub_share(true: Dealt, protocol: str) -> Dealt:
    """The same number, not reduced: on secp256k1 there is room for it only if it is small."""
    expected, commitments, sub_share = true
    number = int.from_bytes(sub_share) + feldman.curve_of(protocol).order
    return expected, commitments, number.to_bytes(32) if number < 2**256 else b"\xff" * 32


def long_sub_share(true: Dealt, _: str) -> Dealt:
    return true[0], true[1], b"\0" + true[2]


def short_sub_share(true: Dealt, _: str) -> Dealt:
    return true[0], true[1], true[2][:-1]


def no_sub_share(true: Dealt, _: str) -> Dealt:
    return true[0], true[1], b""


def higher_degree(_: Dealt, protocol: str) -> Dealt:
    return dealers.copied(key(protocol), QUORUM, 3, 3)[US][LIAR]


def lower_degree(true: Dealt, _: str) -> Dealt:
    return true[0], true[1][:1], true[2]


def another_constant(true: Dealt, protocol: str) -> Dealt:
    """A whole dealing, of a value that is not the dealer's."""
    _, commitments, sub_share = dealers.imported(protocol, 12_345, 2, 3)[US][0]
    return true[0], commitments, sub_share


def of_another_quorum(true: Dealt, protocol: str) -> Dealt:
    _, commitments, sub_share = dealers.copied(key(protocol), [2, LIAR], 2, 3)[US][LIAR]
    return true[0], commitments, sub_share


def with_a_point(point: bytes) -> Lie:
    def lie(true: Dealt, _: str) -> Dealt:
        return true[0], [true[1][0], point], true[2]

    return lie


LIES: list[tuple[Lie, str]] = [
    (other_sub_share, "not on the polynomial"),
    (too_large_sub_share, "not a scalar"),
    (long_sub_share, "not a scalar"),
    (short_sub_share, "not a scalar"),
    (no_sub_share, "not a scalar"),
    (higher_degree, "another degree"),
    (lower_degree, "another degree"),
    (another_constant, "not that of the dealer's share"),
    (of_another_quorum, "not that of the dealer's share"),
]


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize(("lie", "reason"), LIES)
def test_a_dealer_that_lies_is_named(protocol: str, lie: Lie, reason: str) -> None:
    dealings = received(protocol)
    combined(protocol, dealings)
    dealings[LIAR] = lie(dealings[LIAR], protocol)
    assert culprits(protocol, dealings, reason) == (LIAR,)


@pytest.mark.parametrize("protocol", [DKLS, TAPROOT])
@pytest.mark.parametrize(
    "point",
    [b"", b"\0", bytes(33), b"\x02" + b"\xff" * 32, b"\x02" + bytes(31) + b"\x05", b"\x04" * 33],
)
def test_a_commitment_that_is_not_a_point_of_secp256k1_is_refused(
    protocol: str, point: bytes
) -> None:
    dealings = received(protocol)
    dealings[LIAR] = with_a_point(point)(dealings[LIAR], protocol)
    assert culprits(protocol, dealings, NO_POINT) == (LIAR,)


def test_a_point_in_its_long_form_is_refused() -> None:
    dealings = received(DKLS)
    expected, commitments, sub_share = dealings[LIAR]
    long = [coincurve.PublicKey(point).format(compressed=False) for point in commitments]
    dealings[LIAR] = (expected, long, sub_share)
    assert culprits(DKLS, dealings, NO_POINT) == (LIAR,)


@pytest.mark.parametrize(
    "point",
    [
        b"\x01" + bytes(31),  # the identity
        b"\x01" + bytes(30) + b"\x80",  # the identity with the sign of no x
        b"\xee" + b"\xff" * 30 + b"\x7f",  # the identity, with y not reduced
        bytes(32),  # order 4
        ORDER_8,
        b"\x02" + bytes(31),  # not on the curve
    ],
)
def test_a_commitment_that_is_not_a_point_of_ed25519_is_refused(point: bytes) -> None:
    dealings = received(ED25519)
    dealings[LIAR] = with_a_point(point)(dealings[LIAR], ED25519)
    assert culprits(ED25519, dealings, NO_POINT) == (LIAR,)


def test_a_commitment_of_mixed_order_is_refused() -> None:
    dealings = received(ED25519)
    true = dealings[LIAR]
    mixed = feldman.Ed25519().add(true[1][1], ORDER_8)
    dealings[LIAR] = with_a_point(mixed)(true, ED25519)
    assert culprits(ED25519, dealings, NO_POINT) == (LIAR,)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_every_dealer_that_lies_is_named(protocol: str) -> None:
    dealings = received(protocol)
    swapped = {1: dealings[LIAR], LIAR: dealings[1]}
    for dealer, (_, commitments, sub_share) in swapped.items():
        dealings[dealer] = (dealings[dealer][0], commitments, sub_share)
    assert culprits(protocol, dealings, "the dealing of 1: .*; the dealing of 3: ") == QUORUM


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_sub_share_of_another_signer_is_refused(protocol: str) -> None:
    everyones = dealers.copied(key(protocol), QUORUM, 2, 3)
    dealings = everyones[US]
    dealings[LIAR] = (*dealings[LIAR][:2], everyones[1][LIAR][2])
    assert culprits(protocol, dealings, "not on the polynomial") == (LIAR,)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_dealings_of_another_key_are_refused(protocol: str) -> None:
    """One dealer must have lied. Of several, each dealt what it should: none of them is named."""
    alone = dealers.imported(protocol, 9, 2, 3)[US]
    with pytest.raises(native.ProtocolAbort, match="not dealings of the public key") as refused:
        combined(protocol, alone)
    assert refused.value.culprits == (dealers.APPLICATION,)
    combined(protocol, alone, dealers.public_key(protocol, 9))

    with pytest.raises(native.ProtocolAbort, match="not dealings of the public key") as refused:
        combined(protocol, received(protocol), dealers.public_key(protocol, 9))
    assert refused.value.culprits == ()


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_dealings_that_add_up_to_the_identity_are_refused(protocol: str) -> None:
    curve = feldman.curve_of(protocol)
    for constants, slopes in (((3, -3), (1, 1)), ((1, 2), (3, -3))):
        dealings: dict[int, Dealt] = {}
        for dealer, constant, slope in zip(QUORUM, constants, slopes, strict=True):
            dealing = feldman.deal(curve, [constant % curve.order, slope % curve.order], 3)
            dealings[dealer] = (None, dealing.commitments, dealing.sub_shares[US])
        assert culprits(protocol, dealings, "add up to the identity") == ()


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_polynomial_that_is_zero_at_a_signer_is_refused(protocol: str) -> None:
    """f(x) = 3 - x gives signer 3 the secret share zero."""
    curve = feldman.curve_of(protocol)
    dealing = feldman.deal(curve, [3, curve.order - 1], 2)
    dealings: dict[int, Dealt] = {
        dealers.APPLICATION: (None, dealing.commitments, dealing.sub_shares[US])
    }
    with pytest.raises(native.ProtocolAbort):
        combined(protocol, dealings, dealers.public_key(protocol, 3))


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_share_of_impossible_sizes_is_a_fault_on_this_side(protocol: str) -> None:
    dealings = received(protocol)
    for other in (
        {"threshold": 1},
        {"threshold": 4},
        {"signers": 17},
        {"index": 0},
        {"index": 4},
        {"session_id": bytes(31)},
        {"chain_code": bytes(31)},
        {"chain_code": b"" if protocol == DKLS else bytes(32)},
    ):
        with pytest.raises(native.LocalMisuse):
            combined(protocol, dealings, **other)
    with pytest.raises(native.LocalMisuse, match="no dealings"):
        combined(protocol, {})


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_exactly_a_quorum_of_the_old_signers_deals(protocol: str) -> None:
    share = key(protocol)[1]
    for quorum in ([1], [1, 2, 3], [2, 3], [1, 1], [1, 4], [0, 1], [1, 300]):
        with pytest.raises(native.LocalMisuse):
            native.deal(share, quorum, 2, 3)
    for threshold, signers in ((1, 3), (4, 3), (2, 17), (0, 0)):
        with pytest.raises(native.LocalMisuse):
            native.deal(share, [1, 2], threshold, signers)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_no_constant_is_expected_of_what_is_not_a_dealer(protocol: str) -> None:
    verifying_share = key(protocol)[1].verifying_shares[1]
    for quorum in ([2, 3], [1, 1], [0, 1], [1, 17], []):
        with pytest.raises(native.LocalMisuse):
            native.dealt_constant(protocol, quorum, 1, verifying_share)
    for point in (b"", verifying_share[:-1], bytes(len(verifying_share)), ORDER_8):
        with pytest.raises(native.ProtocolAbort) as refused:
            native.dealt_constant(protocol, [1, 2], 1, point)
        assert refused.value.culprits == (1,)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_signers_that_received_other_commitments_do_not_refresh_together(protocol: str) -> None:
    """Two dealings of one key, with other polynomials, arrive at different signers."""
    one, other = (dealers.imported(protocol, 11, 2, 3) for _ in range(2))
    public_key = dealers.public_key(protocol, 11)
    shares = dealers.hollow(protocol, public_key, 2, {1: one[1], 2: one[2], 3: other[3]})
    with pytest.raises(parties.Ended, match="a message of another ceremony"):
        parties.refresh(shares)


def test_dealers_that_move_a_value_between_them_are_noticed_in_the_refresh() -> None:
    """The sums are the same for all signers, and so are the verifying shares. The parts differ."""
    curve = feldman.Ed25519()

    def dealt(slopes: tuple[int, int]) -> dealers.Received:
        dealings = [feldman.deal(curve, [5, slope], 3) for slope in slopes]
        return {
            index: {
                dealer: (None, one.commitments, one.sub_shares[index])
                for dealer, one in enumerate(dealings, 1)
            }
            for index in (1, 2, 3)
        }

    one, other = dealt((3, 4)), dealt((2, 5))
    public_key = dealers.public_key(ED25519, 10)
    shares = dealers.hollow(ED25519, public_key, 2, {1: one[1], 2: one[2], 3: other[3]})
    assert shares[3].verifying_shares == shares[1].verifying_shares
    with pytest.raises(parties.Ended, match="a message of another ceremony"):
        parties.refresh(shares)


def test_signers_with_another_chain_code_do_not_refresh_together() -> None:
    received_ = dealers.imported(DKLS, 11, 2, 3)
    public_key = dealers.public_key(DKLS, 11)
    session = parties.session_id()
    shares = dealers.hollow(DKLS, public_key, 2, received_, session_id=session)
    other = dealers.hollow(DKLS, public_key, 2, received_, session_id=session, chain_code=bytes(32))
    with pytest.raises(parties.Ended, match="a message of another ceremony"):
        parties.refresh({**shares, 3: other[3]})
