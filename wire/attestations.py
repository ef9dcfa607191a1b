"""Whether the nodes that a reader has pinned vouch for a key, and so for its address. Pure.

What stands between them and the reader, an API and its database, is not believed in anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import ValidationError

from wire.addresses import address_of
from wire.algorithms import ECDSA_SECP256K1, Algorithm, Network, Protection, Store
from wire.derivation import child_chain_code, child_public_key, format_path
from wire.envelope import ATTESTATION_TYPE, BadEnvelope, PinnedKeys, SignedBytes, signing_key_id
from wire.jobs import check_key_id
from wire.statements import Attestation
from wire.tickets import MAX_SIGNERS, MIN_THRESHOLD


class Unattested(ValueError):
    """The pinned nodes do not vouch for the key: the text says in what."""


@dataclass(frozen=True)
class ClaimedKey:
    """What a reader was told of a key; what is null was not told.

    A derived key has a root, and a path from there. ``address`` goes with a network: both are null
    for a key that is no wallet's.
    """

    id: UUID
    root: UUID | None
    path: tuple[int, ...]
    store: Store
    algorithm: Algorithm
    public_key: bytes
    network: Network | None = None
    address: str | None = None
    chain_code: bytes | None = None
    protection: Protection | None = None
    group: str | None = None
    threshold: int | None = None
    signers: tuple[str, ...] | None = None


class PinnedNodes:
    """The nodes that a reader believes: their Ed25519 identity keys, 32 bytes each, by node id.

    Signers are pinned apart from drivers, so that no signer alone vouches for a key of store hsm.
    ``min_threshold``: MPC keys that fewer signers can use are not believed.
    """

    def __init__(
        self,
        drivers: Mapping[str, bytes],
        signers: Mapping[str, bytes],
        min_threshold: int = MIN_THRESHOLD,
    ) -> None:
        """Raises ValueError for what is no identity key, and for one that two nodes would share."""
        if min_threshold < MIN_THRESHOLD:
            raise ValueError(f"a threshold below {MIN_THRESHOLD} lets one signer sign alone")
        self.min_threshold = min_threshold
        self._nodes: dict[Store, dict[str, tuple[str, PinnedKeys]]] = {Store.HSM: {}, Store.MPC: {}}
        seen: dict[bytes, str] = {}
        pins = [(Store.HSM, *pin) for pin in drivers.items()]
        pins += [(Store.MPC, *pin) for pin in signers.items()]
        for store, node, public_key in pins:
            if public_key in seen:
                raise ValueError(f"{seen[public_key]} and {node} have the same identity key")
            seen[public_key] = node
            try:
                pinned = PinnedKeys([public_key])
            except ValueError as error:
                raise ValueError(f"{node}: {error}") from None
            self._nodes[store][signing_key_id(public_key)] = (node, pinned)

    def open(self, store: Store, signed: SignedBytes) -> Attestation:
        """The attestation, once it is a pinned node's, by its signature and its own word.

        Raises Unattested.
        """
        known = self._nodes[store].get(signed.signing_key_id)
        if known is None:
            raise Unattested(f"an attestation is signed by {signed.signing_key_id}: not pinned")
        node, pinned = known
        try:
            payload = pinned.open(ATTESTATION_TYPE, signed)
            attestation = Attestation.model_validate_json(payload)
        except BadEnvelope as error:
            raise Unattested(f"the attestation of {node}: {error}") from None
        except ValidationError:
            raise Unattested(f"the attestation of {node} is of no form that is known") from None
        if attestation.node != node:
            raise Unattested(f"{node} has signed an attestation in the name of {attestation.node}")
        return attestation


def check(attestations: Sequence[SignedBytes], key: ClaimedKey, pinned: PinnedNodes) -> None:
    """Raise Unattested unless pinned nodes vouch for all that is claimed of the key."""
    if not 1 <= len(attestations) <= MAX_SIGNERS:
        raise Unattested(f"there are {len(attestations)} attestations, not 1 to {MAX_SIGNERS}")
    found = [pinned.open(key.store, signed) for signed in attestations]
    first = found[0]
    if first.store is not key.store:
        raise Unattested(f"the key is attested for store {first.store.value}")
    if key.store is Store.HSM:
        _require_one_driver(found)
    else:
        _require_all_signers(found, pinned.min_threshold)
    _require_same_key(first, key)
    _require_same_holders(first, key)
    _require_address(key)


def _require_one_driver(found: list[Attestation]) -> None:
    if len(found) != 1:
        raise Unattested("a key of store hsm has one attestation")
    first = found[0]
    if first.protection not in (Protection.HSM, Protection.HOST):
        raise Unattested(f"a driver has no keys of protection {first.protection.value}")
    if first.threshold != 1 or first.signers != [first.node]:
        raise Unattested(f"{first.node} does not hold the key alone")


def _require_all_signers(found: list[Attestation], min_threshold: int) -> None:
    first = found[0]
    if any(each.agreed != first.agreed for each in found):
        raise Unattested("the signers do not attest the same")
    if first.protection is not Protection.MPC:
        raise Unattested(f"signers have no keys of protection {first.protection.value}")
    if len(set(first.signers)) != len(first.signers):
        raise Unattested("a signer is named twice")
    if sorted(each.node for each in found) != sorted(first.signers):
        raise Unattested("it is not each of the signers named that attests, once")
    if not min_threshold <= first.threshold <= len(first.signers):
        raise Unattested(
            f"{first.threshold} of {len(first.signers)} signers can use the key, "
            f"and not less than {min_threshold} must be needed"
        )


def _require_same_key(attested: Attestation, key: ClaimedKey) -> None:
    algorithm = Algorithm(attested.scheme, attested.curve)
    if algorithm != key.algorithm:
        raise Unattested(f"the key is attested to be of {algorithm}, not {key.algorithm}")
    if attested.key_id != (key.root or key.id):
        raise Unattested(f"it is another key that is attested, {attested.key_id}")
    if (key.root is None) != (not key.path):
        raise Unattested("a derived key has a root and a path, another key neither")
    public_key, chain_code = attested.public_key, attested.chain_code
    if key.path:
        public_key, chain_code = _descendant(attested, key.path)
    if key.public_key != public_key:
        raise Unattested("another public key is attested")
    if key.chain_code not in (None, chain_code):
        raise Unattested("another chain code is attested")
    try:
        check_key_id(key.id, key.root, key.path, key.network)
    except ValueError as error:
        raise Unattested(str(error)) from None


def _descendant(attested: Attestation, path: tuple[int, ...]) -> tuple[bytes, bytes]:
    """Public key and chain code of a child of the attested key."""
    algorithm = Algorithm(attested.scheme, attested.curve)
    if algorithm != ECDSA_SECP256K1 or attested.chain_code is None:
        raise Unattested("the root is attested without a chain code: it has no children")
    root = attested.public_key, attested.chain_code
    try:
        return child_public_key(*root, path), child_chain_code(*root, path)
    except ValueError as error:
        raise Unattested(f"the root has no child {format_path(path)}: {error}") from None


def _require_same_holders(attested: Attestation, key: ClaimedKey) -> None:
    told = {
        "protection": (key.protection, attested.protection),
        "group": (key.group, attested.group),
        "threshold": (key.threshold, attested.threshold),
        "signers": (key.signers, tuple(attested.signers)),
    }
    for what, (claimed, found) in told.items():
        if claimed is not None and claimed != found:
            raise Unattested(f"{what}: {found} is attested, not {claimed}")


def _require_address(key: ClaimedKey) -> None:
    if key.address is None:
        return
    if key.network is None:
        raise Unattested("the address is of no network")
    try:
        expected = address_of(key.network, key.algorithm, key.public_key)
    except ValueError as error:
        raise Unattested(str(error)) from None
    if key.address != expected:
        raise Unattested(f"the address is not that of the attested key, which is {expected}")
