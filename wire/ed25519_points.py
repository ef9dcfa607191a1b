"""Which bytes may be pinned as an Ed25519 public key."""

from Crypto.Signature import eddsa

SUBGROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, section 5.1


def check_pinnable(public_key: bytes) -> None:
    """ValueError, saying what is wanted, unless canonical, on the curve and of prime order.

    Under a point of small order anybody can sign (RFC 8032, section 5.1.7; cofactor 8).
    """
    try:
        point = eddsa.import_public_key(public_key)
    except ValueError:
        raise ValueError("32 bytes that are a point of the curve") from None
    if point.export_key(format="raw") != public_key:
        raise ValueError("written in the one canonical way")
    if (
        point.pointQ.is_point_at_infinity()
        or not (point.pointQ * SUBGROUP_ORDER).is_point_at_infinity()
    ):
        raise ValueError("a point of the prime-order group")
