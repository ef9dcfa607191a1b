"""Polynomials through shares, and through the points of shares, on the curves of MPC keys."""

from collections.abc import Mapping

from custody.wire.algorithms import Curve
from custody.wire.points import GROUP_ORDER, weighted_sum


def value_at_zero(curve: Curve, shares: Mapping[int, int]) -> int:
    """Return the value at 0 of the polynomial through the points (index, share) (Shamir 1979)."""
    factors = _factors(curve, list(shares), 0)
    return sum(factors[index] * share for index, share in shares.items()) % GROUP_ORDER[curve]


def point_at(curve: Curve, points: Mapping[int, bytes], at: int) -> bytes:
    """Return the value at ``at`` of the polynomial whose values are points. Raise ValueError."""
    factors = _factors(curve, list(points), at)
    return weighted_sum(curve, list(points.values()), [factors[index] for index in points])


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
