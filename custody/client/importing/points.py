"""Multiples and sums of points, by libraries alone. Points are compressed SEC1 or RFC 8032."""

from collections.abc import Sequence

from coincurve import PrivateKey as Secp256k1PrivateKey
from coincurve import PublicKey as Secp256k1PublicKey
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)

from custody.client.importing.curves import GROUP_ORDER, SECRET_SIZE
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Curve
from custody.wire.public_keys import check_public_key

POINT_ALGORITHM = {Curve.SECP256K1: ECDSA_SECP256K1, Curve.ED25519: EDDSA_ED25519}
"""The curves of MPC keys, and the algorithm whose public keys have the encoding of points."""


def multiple_of_base(curve: Curve, scalar: int) -> bytes:
    """Return the scalar times the base point. The libraries take constant time.

    Raises ValueError unless the scalar is from 1 to the order of the group less 1.
    """
    if not 0 < scalar < GROUP_ORDER[curve]:
        raise ValueError("the scalar is 0 or not below the order of the group")
    if curve is Curve.ED25519:
        return bytes(crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(SECRET_SIZE, "little")))
    return Secp256k1PrivateKey(scalar.to_bytes(SECRET_SIZE)).public_key.format()


def value_of_commitments(curve: Curve, commitments: Sequence[bytes], index: int) -> bytes:
    """Return the sum of commitment k times index^k: the point of the polynomial's value at index.

    Raises ValueError for a commitment that is not a point of the group, and for a sum without an
    encoding, the point at infinity.
    """
    for commitment in commitments:
        check_public_key(POINT_ALGORITHM[curve], commitment)
    order = GROUP_ORDER[curve]
    powers = [pow(index, power, order) for power in range(len(commitments))]
    if curve is Curve.ED25519:
        terms = [
            crypto_scalarmult_ed25519_noclamp(power.to_bytes(SECRET_SIZE, "little"), commitment)
            for power, commitment in zip(powers, commitments, strict=True)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = crypto_core_ed25519_add(total, term)
        return bytes(total)
    return Secp256k1PublicKey.combine_keys(
        [
            Secp256k1PublicKey(commitment).multiply(power.to_bytes(SECRET_SIZE))
            for power, commitment in zip(powers, commitments, strict=True)
        ]
    ).format()
