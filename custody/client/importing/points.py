"""The points that a Feldman dealing commits to."""

from collections.abc import Sequence

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Curve
from custody.wire.points import GROUP_ORDER, weighted_sum
from custody.wire.public_keys import check_public_key

POINT_ALGORITHM = {Curve.SECP256K1: ECDSA_SECP256K1, Curve.ED25519: EDDSA_ED25519}
"""The curves of MPC keys, and the algorithm whose public keys have the encoding of points."""


def value_of_commitments(curve: Curve, commitments: Sequence[bytes], index: int) -> bytes:
    """Return the sum of commitment k times index^k: the point of the polynomial's value at index.

    Raises ValueError for a commitment that is not a point of the group, and for a sum without an
    encoding, the point at infinity.
    """
    for commitment in commitments:
        check_public_key(POINT_ALGORITHM[curve], commitment)
    powers = [pow(index, power, GROUP_ORDER[curve]) for power in range(len(commitments))]
    return weighted_sum(curve, commitments, powers)
