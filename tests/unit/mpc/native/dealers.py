"""Imports and copies of keys in one process, up to the shares before the refresh."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from mpc import _native as native
from tests.unit.mpc.native import feldman, parties
from tests.unit.mpc.native.keys import DKLS, TAPROOT

APPLICATION = 0

Dealt = tuple[bytes | None, Sequence[bytes], bytes]
"""One dealing as `dealt_share` takes it."""

Received = dict[int, dict[int, Dealt]]
"""Signer -> dealer -> what arrives."""


def copied(
    shares: Mapping[int, native.Share], quorum: Sequence[int], threshold: int, signers: int
) -> Received:
    """What the quorum deals to new signers."""
    dealings = {
        dealer: native.deal(shares[dealer], quorum, threshold, signers) for dealer in quorum
    }
    return {
        index: {
            dealer: (
                native.dealt_constant(
                    shares[dealer].protocol, quorum, dealer, shares[dealer].verifying_shares[dealer]
                ),
                dealing.commitments,
                dealing.sub_shares[index],
            )
            for dealer, dealing in dealings.items()
        }
        for index in range(1, signers + 1)
    }


def imported(protocol: str, private_key: int, threshold: int, signers: int) -> Received:
    """What an application deals, with the second implementation."""
    curve = feldman.curve_of(protocol)
    others = [1 + secrets.randbelow(curve.order - 1) for _ in range(1, threshold)]
    dealing = feldman.deal(curve, [private_key, *others], signers)
    return {
        index: {APPLICATION: (None, dealing.commitments, sub_share)}
        for index, sub_share in dealing.sub_shares.items()
    }


def public_key(protocol: str, private_key: int) -> bytes:
    point = feldman.curve_of(protocol).base_times(private_key)
    return point[1:] if protocol == TAPROOT else point


def chain_code(protocol: str) -> bytes:
    return bytes(range(32)) if protocol == DKLS else b""


def hollow(
    protocol: str, key: bytes, threshold: int, received: Received, **other: Any
) -> dict[int, native.Share]:
    """The shares of all signers before the refresh."""
    session = parties.session_id()
    return {
        index: native.dealt_share(
            **{
                "protocol": protocol,
                "index": index,
                "threshold": threshold,
                "signers": len(received),
                "public_key": key,
                "chain_code": chain_code(protocol),
                "session_id": session,
                "dealings": dealings,
                **other,
            }
        )
        for index, dealings in received.items()
    }
