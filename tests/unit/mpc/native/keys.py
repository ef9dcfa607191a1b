"""Keys for the tests to use, made once in a run: a DKLs23 DKG takes seconds."""

from functools import cache

from mpc import _native as native
from tests.unit.mpc.native import parties

DKLS, ED25519, TAPROOT = native.PROTOCOLS


@cache
def key(protocol: str, threshold: int = 2, signers: int = 3) -> dict[int, native.Share]:
    return parties.make_key(protocol, threshold, signers)
