"""Sums and multiples of points, and polynomials over them, on the curves of MPC keys."""

from collections.abc import Mapping

from coincurve import PrivateKey, PublicKey
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)

from custody.wire.algorithms import Curve
from mpc.layer4.share_copy import GROUP_ORDER


def multiple_of_base(curve: Curve, scalar: int) -> bytes:
    """Return scalar times the base point: 33 bytes (SEC 1) or 32 (RFC 8032). Raise ValueError."""
    if not 0 < scalar < GROUP_ORDER[curve]:
        raise ValueError("the scalar is 0 or not below the order of the group")
    if curve is Curve.ED25519:
        return bytes(crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little")))
    return PrivateKey(scalar.to_bytes(32)).public_key.format()


def value_at_zero(curve: Curve, shares: Mapping[int, int]) -> int:
    """Return the value at 0 of the polynomial through the points (index, share) (Shamir 1979)."""
    order = GROUP_ORDER[curve]
    factors = _factors(curve, list(shares), 0)
    return sum(factors[index] * share for index, share in shares.items()) % order


def point_at(curve: Curve, points: Mapping[int, bytes], at: int) -> bytes:
    """Return the value at ``at`` of the polynomial whose values are points. Raise ValueError."""
    factors = _factors(curve, list(points), at)
    try:
        if curve is Curve.ED25519:
            terms = [
                crypto_scalarmult_ed25519_noclamp(factors[index].to_bytes(32, "little"), point)
                for index, point in points.items()
            ]
            total = terms[0]
            for term in terms[1:]:
                total = crypto_core_ed25519_add(total, term)
            return bytes(total)
        return PublicKey.combine_keys(
            [
                PublicKey(point).multiply(factors[index].to_bytes(32))
                for index, point in points.items()
            ]
        ).format()
    except RuntimeError as error:  # libsodium: not a point, or of small order
        raise ValueError(str(error)) from None


def _factors(curve: Curve, indices: list[int], at: int) -> dict[int, int]:
    """Return each point's factor in Lagrange's interpolation, none of which is 0 or repeated."""
    order = GROUP_ORDER[curve]
    factors = {}
    for one in indices:
        factor = 1
        for other in indices:
            if other != one:
                factor = factor * (at - other) * pow(one - other, -1, order) % order
        factors[one] = factor
    return factors
