"""Points of the curves, multiplied and added by libraries alone, and the orders of their groups.

Points are compressed: 33 bytes (SEC 1, section 2.3.3), or 32 bytes on Ed25519 (RFC 8032, section
5.1.2). P-256 has only its order here, because no key on it is held in shares.
"""

from collections.abc import Sequence

from coincurve import PrivateKey, PublicKey
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import CryptoError

from custody.wire.algorithms import Curve

SCALAR_SIZE = 32
"""In bytes."""
GROUP_ORDER = {
    # SEC 2, sections 2.4.1 and 2.4.2
    Curve.SECP256K1: 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141,
    Curve.SECP256R1: 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551,
    # RFC 8032, section 5.1
    Curve.ED25519: 2**252 + 27742317777372353535851937790883648493,
}


def multiple_of_base(curve: Curve, scalar: int) -> bytes:
    """Return the scalar times the base point. The libraries take constant time.

    Raises ValueError unless the scalar is from 1 to the order of the group less 1, and for P-256.
    """
    _require_curve_of_shares(curve)
    if not 0 < scalar < GROUP_ORDER[curve]:
        raise ValueError("the scalar is 0 or not below the order of the group")
    if curve is Curve.ED25519:
        return bytes(crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(SCALAR_SIZE, "little")))
    return PrivateKey(scalar.to_bytes(SCALAR_SIZE)).public_key.format()


def weighted_sum(curve: Curve, points: Sequence[bytes], factors: Sequence[int]) -> bytes:
    """Return the sum of each point times its factor, which is from 1 to the order less 1.

    Raises ValueError for bytes that are not a point, for a sum without an encoding, which is the
    point at infinity of secp256k1, and for P-256.
    """
    _require_curve_of_shares(curve)
    if curve is not Curve.ED25519:
        terms = [
            PublicKey(point).multiply(factor.to_bytes(SCALAR_SIZE))
            for point, factor in zip(points, factors, strict=True)
        ]
        return PublicKey.combine_keys(terms).format()
    try:
        first, *others = [
            crypto_scalarmult_ed25519_noclamp(factor.to_bytes(SCALAR_SIZE, "little"), point)
            for point, factor in zip(points, factors, strict=True)
        ]
        total = first
        for other in others:
            total = crypto_core_ed25519_add(total, other)
    except CryptoError as error:
        raise ValueError(str(error)) from None
    return bytes(total)


def _require_curve_of_shares(curve: Curve) -> None:
    if curve is Curve.SECP256R1:
        raise ValueError("no key on P-256 is held in shares")
