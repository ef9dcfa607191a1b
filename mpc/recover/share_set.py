"""What the copies of one set of shares have in common, and whether it is true."""

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from custody.wire.algorithms import NETWORK_ALGORITHMS, Algorithm, Network
from custody.wire.points import multiple_of_base
from custody.wire.tickets import Protocol
from mpc._native import LocalMisuse, Share
from mpc.layer4.share_copy import ShareCopy
from mpc.recover.polynomials import point_at

COMPRESSED_SIZE = 33


@dataclass(frozen=True)
class SetFacts:
    """Every fact that all copies of one set of shares have alike."""

    key_id: UUID
    algorithm: Algorithm
    network: Network | None
    public_key: bytes
    chain_code: bytes | None
    taproot_tweaked: bool
    group: str
    threshold: int
    signers: tuple[str, ...]
    generation: int
    ceremony: UUID
    transcript: bytes
    verifying_shares: tuple[tuple[int, bytes], ...]
    protocol: Protocol

    @classmethod
    def of(cls, copy: ShareCopy) -> "SetFacts":
        return cls(
            key_id=copy.key_id,
            algorithm=Algorithm(copy.scheme, copy.curve),
            network=copy.network,
            public_key=copy.public_key,
            chain_code=copy.chain_code,
            taproot_tweaked=copy.taproot_tweaked,
            group=copy.group,
            threshold=copy.threshold,
            signers=tuple(copy.signers),
            generation=copy.generation,
            ceremony=copy.ceremony,
            transcript=copy.transcript,
            verifying_shares=tuple(sorted(copy.verifying_shares.items())),
            protocol=copy.protocol,
        )


@lru_cache(maxsize=4096)
def fault_of_facts(facts: SetFacts) -> str | None:
    """Return why shares of such a set do not give the private key; None if any t of them do.

    The verifying shares must be values of one polynomial, whose value at 0 is the public key.
    """
    if facts.network is not None and facts.algorithm not in NETWORK_ALGORITHMS[facts.network]:
        return f"{facts.network} has no keys of {facts.algorithm}"
    points = dict(facts.verifying_shares)
    if sorted(points) != list(range(1, len(facts.signers) + 1)):
        return "the verifying shares are not those of signers 1 to n"
    curve = facts.algorithm.curve
    first = {index: points[index] for index in range(1, facts.threshold + 1)}
    try:
        if not is_public_key(facts.public_key, point_at(curve, first, 0)):
            return "the verifying shares do not belong to the public key"
        for index in range(facts.threshold + 1, len(points) + 1):
            if point_at(curve, first, index) != points[index]:
                return f"the verifying share of signer {index} does not fit the others"
    except ValueError:
        return "a verifying share is not a point of the curve"
    return None


def fault_of_share(copy: ShareCopy) -> str | None:
    """Return why the secret share of a copy is not what the copy says; None if it is."""
    secret = int.from_bytes(copy.secret_share)
    if secret == 0 or multiple_of_base(copy.curve, secret) != copy.verifying_shares[copy.index]:
        return "the secret share does not fit its verifying share"
    return None


def fault_of_protocol_share(copy: ShareCopy) -> str | None:
    """Return why a signer cannot be restored with this copy; None if it can.

    The private key can be recovered all the same: recovery needs the secret share alone.
    """
    try:
        share = Share.load(copy.share)
    except LocalMisuse as error:
        return f"the protocol's library cannot load its share: {error}"
    for name, found, stated in (
        ("protocol", share.protocol, copy.protocol.value),
        ("public key", share.public_key, copy.public_key),
        ("chain code", share.chain_code or None, copy.chain_code),
        ("index", share.index, copy.index),
        ("threshold", share.threshold, copy.threshold),
        ("number of signers", share.signers, len(copy.signers)),
        ("transcript", share.transcript(), copy.transcript),
        ("Taproot tweak", share.taproot_tweaked, copy.taproot_tweaked),
        ("set of verifying shares", share.verifying_shares, copy.verifying_shares),
        ("secret share", share.secret_share(), copy.secret_share),
    ):
        if found != stated:
            return f"the protocol's share has another {name} than the document"
    return None


def is_public_key(public_key: bytes, point: bytes) -> bool:
    """Return True if the point is the one of a public key; BIP-340 keys are x-coordinates."""
    is_x_only = len(point) == COMPRESSED_SIZE and len(public_key) == COMPRESSED_SIZE - 1
    return public_key == (point[1:] if is_x_only else point)
