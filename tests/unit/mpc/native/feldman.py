"""Feldman dealings with Python's integers: a second implementation of `mpc/native/src/dealing`.

The arithmetic of points is libsecp256k1's and libsodium's. Neither is in the crate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import coincurve
from nacl import bindings

from tests.unit.mpc.native.keys import ED25519


class Curve(Protocol):
    """A group of prime order. Points are encoded as verifying shares."""

    order: int

    def base_times(self, scalar: int) -> bytes: ...
    def times(self, point: bytes, scalar: int) -> bytes: ...
    def add(self, one: bytes, other: bytes) -> bytes: ...


class Secp256k1:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

    def base_times(self, scalar: int) -> bytes:
        return coincurve.PrivateKey.from_int(scalar).public_key.format()

    def times(self, point: bytes, scalar: int) -> bytes:
        return coincurve.PublicKey(point).multiply(scalar.to_bytes(32)).format()

    def add(self, one: bytes, other: bytes) -> bytes:
        both = [coincurve.PublicKey(one), coincurve.PublicKey(other)]
        return coincurve.PublicKey.combine_keys(both).format()


class Ed25519:
    order = 2**252 + 27742317777372353535851937790883648493

    def base_times(self, scalar: int) -> bytes:
        return bindings.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))

    def times(self, point: bytes, scalar: int) -> bytes:
        return bindings.crypto_scalarmult_ed25519_noclamp(scalar.to_bytes(32, "little"), point)

    def add(self, one: bytes, other: bytes) -> bytes:
        return bindings.crypto_core_ed25519_add(one, other)


def curve_of(protocol: str) -> Curve:
    return Ed25519() if protocol == ED25519 else Secp256k1()


@dataclass(frozen=True)
class Dealing:
    commitments: tuple[bytes, ...]
    sub_shares: dict[int, bytes]


def deal(curve: Curve, coefficients: Sequence[int], signers: int) -> Dealing:
    """The dealing of a polynomial, the constant first."""
    values = {
        index: sum(c * index**power for power, c in enumerate(coefficients)) % curve.order
        for index in range(1, signers + 1)
    }
    return Dealing(
        tuple(curve.base_times(coefficient) for coefficient in coefficients),
        {index: value.to_bytes(32) for index, value in values.items()},
    )


def lagrange(curve: Curve, quorum: Sequence[int], index: int) -> int:
    """The coefficient at 0."""
    result = 1
    for other in quorum:
        if other != index:
            result = result * other * pow(other - index, -1, curve.order) % curve.order
    return result


def private_key(curve: Curve, secrets: Mapping[int, int]) -> int:
    """The value at 0 of the polynomial through these points."""
    return (
        sum(lagrange(curve, list(secrets), index) * value for index, value in secrets.items())
        % curve.order
    )


def added(curve: Curve, points: Sequence[bytes]) -> bytes:
    return reduce(curve.add, points)


def value_of(curve: Curve, commitments: Sequence[bytes], index: int) -> bytes:
    """The polynomial's value at `index`, times the generator."""
    terms = [
        curve.times(commitment, index**power % curve.order)
        for power, commitment in enumerate(commitments)
    ]
    return added(curve, terms)
