"""Feldman's verifiable secret sharing of a private key for the signers of a group.

Shamir 1979, "How to share a secret": sub-share j is f(j), for a random polynomial f of degree
t - 1 whose value at 0 is the private key. Feldman 1987, "A practical scheme for non-interactive
verifiable secret sharing" (FOCS, pp. 427-437): each coefficient times the base point is published,
and the holder of a sub-share checks it. RFC 9591, appendix C.2, describes both as vss_commit and
vss_verify.

The sums and products of numbers are those of Python, whose time depends on the numbers. That is
accepted here: the numbers are used once, and the application splits on its own machine when it
decides to. Nobody else can repeat the operation and measure it. Points are multiplied by libraries,
in constant time.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from custody.client.importing.curves import SECRET_SIZE
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.points import POINT_ALGORITHM, value_of_commitments
from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import Curve
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.points import GROUP_ORDER, multiple_of_base


@dataclass(frozen=True)
class Dealing:
    """``commitments``: t points, the first is the private key's. ``sub_shares``: n, secret.

    Sub-share j, which is ``sub_shares[j - 1]``, is f(j): an integer below the order of the group
    in 32 bytes, most significant byte first on both curves, as mpc/native has a secret share.
    """

    commitments: tuple[bytes, ...]
    sub_shares: tuple[bytes, ...] = field(repr=False)


def split(key: PrivateKey, threshold: int, signers: int) -> Dealing:
    """Split a private key for this number of signers, of which ``threshold`` sign.

    The number that is split is ``key.scalar``: of Ed25519 the scalar of the seed (RFC 8032, section
    5.1.5), of Schnorr the one whose y is even. Raises BadPrivateKey for an algorithm that MPC mode
    does not have, and ValueError for an impossible group.
    """
    curve = key.algorithm.curve
    if curve not in POINT_ALGORITHM:
        raise BadPrivateKey(KeyFault.UNSUPPORTED, f"keys of {key.algorithm} are not held in shares")
    if not MIN_THRESHOLD <= threshold <= signers <= MAX_SIGNERS:
        raise ValueError(
            f"threshold {threshold} of {signers} signers: it must be at least {MIN_THRESHOLD}, "
            f"with as many signers or more, at most {MAX_SIGNERS}"
        )
    others = GROUP_ORDER[curve] - 1
    # 0 has no commitment. Leaving it out makes no difference: its probability is below 2^-251.
    coefficients = [key.scalar, *(1 + secrets.randbelow(others) for _ in range(threshold - 1))]
    return share_out(curve, coefficients, signers)


def share_out(curve: Curve, coefficients: Sequence[int], signers: int) -> Dealing:
    """Return commitments and sub-shares of a polynomial, from the constant term on.

    Each sub-share is checked against the commitments: a fault of the machine gives RuntimeError.
    Raises ValueError for a coefficient that is 0 or not below the order of the group.
    """
    commitments = tuple(multiple_of_base(curve, each) for each in coefficients)
    sub_shares = tuple(
        _value_at(curve, coefficients, index).to_bytes(SECRET_SIZE)
        for index in range(1, signers + 1)
    )
    for index, sub_share in enumerate(sub_shares, start=1):
        try:
            verify_share(curve, commitments, index, sub_share)
        except ValueError as error:
            raise RuntimeError(f"a sub-share of our own is wrong: {error}") from None
    return Dealing(commitments, sub_shares)


def verify_share(curve: Curve, commitments: Sequence[bytes], index: int, sub_share: bytes) -> None:
    """Raise ValueError unless the sub-share is the value at ``index`` of the committed polynomial.

    Feldman 1987; RFC 9591, appendix C.2, vss_verify.
    """
    if len(sub_share) != SECRET_SIZE or not 1 <= index <= MAX_SIGNERS or not commitments:
        raise ValueError("a sub-share has 32 bytes, an index from 1, and commitments")
    point = multiple_of_base(curve, int.from_bytes(sub_share))
    if point != value_of_commitments(curve, commitments, index):
        raise ValueError(f"the sub-share at {index} is not that of the commitments")


def _value_at(curve: Curve, coefficients: Sequence[int], at: int) -> int:
    """Return the polynomial's value by Horner's rule."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * at + coefficient) % GROUP_ORDER[curve]
    return value
