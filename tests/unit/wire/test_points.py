"""Points, compared with the public keys that a third library makes of the same numbers."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from custody.wire.algorithms import Curve
from custody.wire.points import GROUP_ORDER, multiple_of_base, weighted_sum

CURVES = [Curve.SECP256K1, Curve.ED25519]
ORDERS = [
    (Curve.SECP256K1, ec.SECP256K1()),
    (Curve.SECP256R1, ec.SECP256R1()),
]


@pytest.mark.parametrize(("curve", "of_openssl"), ORDERS, ids=["secp256k1", "secp256r1"])
def test_the_order_less_1_is_the_last_private_key(curve, of_openssl):
    last = ec.derive_private_key(GROUP_ORDER[curve] - 1, of_openssl).public_key()
    first = ec.derive_private_key(1, of_openssl).public_key()
    assert last.public_numbers().x == first.public_numbers().x
    assert last.public_numbers().y != first.public_numbers().y


@given(st.integers(1, GROUP_ORDER[Curve.SECP256K1] - 1))
def test_a_multiple_of_the_base_point_is_the_public_key(scalar):
    public_key = ec.derive_private_key(scalar, ec.SECP256K1()).public_key()
    point = public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    assert multiple_of_base(Curve.SECP256K1, scalar) == point


@pytest.mark.parametrize("curve", CURVES)
@given(st.lists(st.tuples(st.integers(1, 2**64), st.integers(1, 2**64)), min_size=1, max_size=4))
def test_a_sum_of_multiples_is_the_multiple_of_the_sum(curve, terms):
    points = [multiple_of_base(curve, scalar) for scalar, _ in terms]
    total = sum(scalar * factor for scalar, factor in terms)
    found = weighted_sum(curve, points, [factor for _, factor in terms])
    assert found == multiple_of_base(curve, total)


@pytest.mark.parametrize("curve", CURVES)
def test_numbers_outside_the_group_and_bytes_that_are_no_point_are_refused(curve):
    for scalar in (-1, 0, GROUP_ORDER[curve]):
        with pytest.raises(ValueError, match="not below the order"):
            multiple_of_base(curve, scalar)
    for wrong in (b"", bytes(32), bytes(33), b"\xff" * 32):
        with pytest.raises(ValueError, match=r"."):
            weighted_sum(curve, [wrong], [2])


def test_p_256_has_no_shares():
    """Without the refusal, the number would become a point of secp256k1."""
    with pytest.raises(ValueError, match="P-256"):
        multiple_of_base(Curve.SECP256R1, 5)
    with pytest.raises(ValueError, match="P-256"):
        weighted_sum(Curve.SECP256R1, [multiple_of_base(Curve.SECP256K1, 5)], [2])
