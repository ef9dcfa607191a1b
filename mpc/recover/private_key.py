"""The private key of a wallet, from t share copies, and its children."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from embit.bip32 import HDKey
from embit.ec import PrivateKey as EmbitPrivateKey

from custody.wire.algorithms import ECDSA_SECP256K1, SCHNORR_SECP256K1, Algorithm, Network
from custody.wire.derivation import child_public_key
from custody.wire.points import GROUP_ORDER, multiple_of_base
from mpc.layer4.share_copy import ShareCopy
from mpc.recover.polynomials import value_at_zero
from mpc.recover.share_set import SetFacts, is_public_key

EVEN_Y = 2
"""First byte of a compressed point with an even y (SEC 1, section 2.3.3)."""


class NotRecovered(ValueError):
    """The shares do not give the private key of the public key that they name."""


@dataclass(frozen=True)
class PrivateKey:
    """A private key as a scalar, which is secret. Its public key has been recomputed from it.

    The scalar of a BIP-340 key is the one whose point has an even y.
    """

    algorithm: Algorithm
    network: Network | None
    public_key: bytes
    chain_code: bytes | None
    scalar: int = field(repr=False)

    @property
    def big_endian(self) -> bytes:
        """Return the scalar as 32 bytes, the most significant byte first."""
        return self.scalar.to_bytes(32)


def recovered(facts: SetFacts, copies: Sequence[ShareCopy]) -> PrivateKey:
    """Return the private key from t copies of one set. Raise NotRecovered."""
    if len(copies) != facts.threshold or any(SetFacts.of(copy) != facts for copy in copies):
        raise NotRecovered(f"{facts.threshold} copies of the same set of shares are needed")
    shares = {copy.index: int.from_bytes(copy.secret_share) for copy in copies}
    if len(shares) != facts.threshold:
        raise NotRecovered("two of the copies are of the same share")
    curve = facts.algorithm.curve
    scalar = value_at_zero(curve, shares)
    point = multiple_of_base(curve, scalar)
    if not is_public_key(facts.public_key, point):
        raise NotRecovered("the shares do not give the private key of their public key")
    if facts.algorithm == SCHNORR_SECP256K1 and point[0] != EVEN_Y:
        scalar = GROUP_ORDER[curve] - scalar
    return PrivateKey(facts.algorithm, facts.network, facts.public_key, facts.chain_code, scalar)


def child_of(root: PrivateKey, path: Sequence[int], network: Network | None) -> PrivateKey:
    """Return a child by BIP-32 (CKDpriv, unhardened). Raise ValueError if the key has none."""
    if root.algorithm != ECDSA_SECP256K1 or root.chain_code is None:
        raise ValueError(f"keys of {root.algorithm} have no children")
    public_key = child_public_key(root.public_key, root.chain_code, path)
    child = HDKey(EmbitPrivateKey(root.big_endian), root.chain_code).derive(list(path))
    scalar = int.from_bytes(child.secret)
    if multiple_of_base(root.algorithm.curve, scalar) != public_key:
        raise NotRecovered("the child's private key does not belong to its public key")
    return PrivateKey(root.algorithm, network, public_key, child.chain_code, scalar)
