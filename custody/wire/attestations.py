"""Check that a reader's pinned nodes attest a key, and so its address. Pure.

The check does not trust the API and the database between the nodes and the reader.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from pydantic import ValidationError

from custody.wire.addresses import address_of
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    Algorithm,
    Network,
    Protection,
    Store,
    may_have_wallet,
)
from custody.wire.derivation import child_chain_code, child_public_key, format_path
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.imports import ImportKeyStatement
from custody.wire.jobs import Endpoint, check_key_id
from custody.wire.public_keys import check_ed25519
from custody.wire.signed_bytes import (
    ATTESTATION_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    signing_key_id,
)
from custody.wire.statements import Attestation

Statement = TypeVar("Statement", Attestation, ImportKeyStatement)


class Unattested(ValueError):
    """The pinned nodes do not attest the key; the text names the difference."""


def _require_members(groups: Mapping[str, Sequence[str]], nodes: Collection[str]) -> None:
    for group, members in groups.items():
        strangers = sorted(set(members) - set(nodes))
        if strangers:
            raise ValueError(f"{group}: {', '.join(strangers)} has no identity key here")


@dataclass(frozen=True)
class ClaimedKey:
    """The facts about a key that a reader received; null: not received.

    A derived key has a root, and a path from the root. ``address`` belongs to ``address_network``,
    or else to the key's own network. Another network is one of a wallet that was added: nodes
    attest the key's own network alone. ``external_id``: of the request that the wallet or the bare
    key was made for. It is not checked for a derived key, since nodes do not attest it, nor for a
    wallet's key without the address of its own network. ``copied_from``: of a copy, the key that
    another signer group holds.
    """

    id: UUID
    root: UUID | None
    path: tuple[int, ...]
    store: Store
    algorithm: Algorithm
    public_key: bytes
    network: Network | None = None
    address: str | None = None
    address_network: Network | None = None
    chain_code: bytes | None = None
    protection: Protection | None = None
    group: str | None = None
    threshold: int | None = None
    signers: tuple[str, ...] | None = None
    external_id: str | None = None
    imported: bool | None = None
    copied_from: UUID | None = None

    @property
    def is_added(self) -> bool:
        """Return True if the address is of another network than the key was made for."""
        return self.address_network not in (None, self.network)


@dataclass(frozen=True)
class PinnedGroup:
    """A pinned signer group: exactly these signers, of which ``threshold`` sign."""

    threshold: int
    signers: Sequence[str]

    def __post_init__(self) -> None:
        """Raise ValueError for an impossible group."""
        if len(set(self.signers)) != len(self.signers):
            raise ValueError("a signer is named twice")
        if not MIN_THRESHOLD <= self.threshold <= len(self.signers) <= MAX_SIGNERS:
            raise ValueError(
                f"threshold {self.threshold} of {len(self.signers)} signers: it must be "
                f"at least {MIN_THRESHOLD}, with as many signers or more, at most {MAX_SIGNERS}"
            )


class PinnedNodes:
    """The nodes and groups that a reader trusts, and the application whose keys they must attest.

    Signers and drivers are pinned separately, so that one signer cannot attest a key of store hsm.
    """

    def __init__(
        self,
        drivers: Mapping[str, bytes],
        signers: Mapping[str, bytes],
        driver_groups: Mapping[str, Sequence[str]],
        signer_groups: Mapping[str, PinnedGroup],
        application: bytes | None = None,
    ) -> None:
        """``drivers``, ``signers``: Ed25519 identity keys, 32 bytes each, by node id.

        ``driver_groups``: the drivers of each group, by name. ``application``: the public key that
        signs the reader's requests; None if they are not signed.
        Raises ValueError for bytes that are not a public key, for a key of two nodes, and for a
        member of a group that is not pinned.
        """
        self.application = None if application is None else check_ed25519(application)
        self._driver_groups = {name: frozenset(each) for name, each in driver_groups.items()}
        self._signer_groups = dict(signer_groups)
        _require_members(driver_groups, drivers)
        _require_members({name: each.signers for name, each in signer_groups.items()}, signers)
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

    def of_application(self, application: bytes) -> "PinnedNodes":
        """Return these pins with the application's key. Raise ValueError if it differs."""
        if self.application not in (None, application):
            raise ValueError(
                "the pinned application's key differs from the key that signs requests"
            )
        theirs = copy.copy(self)
        theirs.application = check_ed25519(application)
        return theirs

    def require_drivers_group(self, group: str, driver: str) -> None:
        """Raise Unattested unless the group is pinned and the driver belongs to it."""
        if driver not in self._driver_groups.get(group, ()):
            raise Unattested(f"{driver} is not pinned as a driver of the group {group!r}")

    def signer_group(self, name: str) -> PinnedGroup:
        """Return a pinned signer group. Raise Unattested if there is none of this name."""
        pinned = self._signer_groups.get(name)
        if pinned is None:
            raise Unattested(
                f"the signer group {name!r} is not pinned: pin its threshold and its signers first"
            )
        return pinned

    def require_signer_group(self, group: str, threshold: int, signers: Sequence[str]) -> None:
        """Raise Unattested unless the group is pinned with this threshold and these signers."""
        pinned = self.signer_group(group)
        if threshold != pinned.threshold:
            raise Unattested(
                f"threshold {threshold} is attested, but {pinned.threshold} is pinned for {group!r}"
            )
        if sorted(signers) != sorted(pinned.signers):
            raise Unattested(
                f"the signers {', '.join(signers)} are attested, but "
                f"{', '.join(pinned.signers)} are pinned for {group!r}"
            )

    def open(self, store: Store, signed: SignedBytes) -> Attestation:
        """Open an attestation: a pinned node must have signed it and be named in it.

        Raise Unattested.
        """
        return self.open_as(Attestation, ATTESTATION_TYPE, store, signed)

    def open_as(
        self, model: type[Statement], payload_type: str, store: Store, signed: SignedBytes
    ) -> Statement:
        """Open a statement of a pinned node about itself. Raise Unattested."""
        known = self._nodes[store].get(signed.signing_key_id)
        if known is None:
            raise Unattested(f"a statement is signed by {signed.signing_key_id}: not pinned")
        node, pinned = known
        try:
            statement = model.model_validate_json(pinned.open(payload_type, signed))
        except BadSignedBytes as error:
            raise Unattested(f"the attestation of {node}: {error}") from None
        except ValidationError:
            raise Unattested(f"the attestation of {node} has an unknown form") from None
        if statement.node != node:
            raise Unattested(f"{node} has signed an attestation in the name of {statement.node}")
        return statement


def check_attestations(
    attestations: Sequence[SignedBytes], key: ClaimedKey, pinned: PinnedNodes
) -> Attestation:
    """Return one of the attestations, if pinned nodes attest every claimed fact of the key.

    For a derived key it is the root's. That a copy has the public key of the copied key is not
    checked: a reader checks the attestations of that key, too, and compares. Raise Unattested.
    """
    if not 1 <= len(attestations) <= MAX_SIGNERS:
        raise Unattested(f"there are {len(attestations)} attestations, not 1 to {MAX_SIGNERS}")
    found = [pinned.open(key.store, signed) for signed in attestations]
    first = found[0]
    if first.store is not key.store:
        raise Unattested(f"the key is attested for store {first.store.value}")
    if key.store is Store.HSM:
        _require_one_driver(found, pinned)
    else:
        _require_all_signers(found, pinned)
    _require_same_key(first, key)
    _require_same_request(first, key, pinned.application)
    _require_same_holders(first, key)
    _require_address(key)
    return first


def _require_one_driver(found: list[Attestation], pinned: PinnedNodes) -> None:
    if len(found) != 1:
        raise Unattested("a key of store hsm has exactly one attestation")
    first = found[0]
    if first.protection not in (Protection.HSM, Protection.HOST):
        raise Unattested(f"a driver cannot hold a key of protection {first.protection.value}")
    if first.threshold != 1 or first.signers != [first.node]:
        raise Unattested(f"{first.node} does not hold the key alone")
    pinned.require_drivers_group(first.group, first.node)


def _require_all_signers(found: list[Attestation], pinned: PinnedNodes) -> None:
    first = found[0]
    if any(each.made_for != first.made_for for each in found):
        raise Unattested(
            "the signers attest different requests: each must have the application pinned "
            "(mpc-signer apps add) before the key is made"
        )
    if any(each.agreed != first.agreed for each in found):
        raise Unattested("the signers' attestations differ")
    if first.protection is not Protection.MPC:
        raise Unattested(f"signers cannot hold a key of protection {first.protection.value}")
    if len(set(first.signers)) != len(first.signers):
        raise Unattested("a signer is named twice")
    if sorted(each.node for each in found) != sorted(first.signers):
        raise Unattested("each named signer must attest exactly once")
    pinned.require_signer_group(first.group, first.threshold, first.signers)


def _require_same_request(
    attested: Attestation, key: ClaimedKey, application: bytes | None
) -> None:
    """Raise Unattested unless the key was made for this application and this request.

    The request of a derived key is not checked, since nodes do not attest it.
    """
    made_for = attested.made_for
    if made_for is None:
        raise Unattested("the nodes do not attest for which request the key was made")
    if made_for.application != application:
        raise Unattested(_another_application(made_for.application, application))
    if key.root is not None:
        if key.copied_from is not None:
            raise Unattested(f"a derived key is shown as a copy of {key.copied_from}")
        return
    if made_for.copied_from != key.copied_from:
        raise Unattested(f"the key is attested as a copy of {made_for.copied_from}")
    is_copy = key.copied_from is not None
    of_new_key = Endpoint.KEYS if key.network is None else Endpoint.WALLETS
    if made_for.endpoint is not (Endpoint.COPIES if is_copy else of_new_key):
        raise Unattested(f"the key was made for a request to {made_for.endpoint.value}")
    is_own_wallet = key.address is not None and not key.is_added
    is_told = is_copy or key.network is None or is_own_wallet
    if is_told and key.external_id != made_for.external_id:
        raise Unattested(
            f"the key was made for external_id {made_for.external_id}, not {key.external_id}"
        )


def _another_application(attested: bytes | None, ours: bytes | None) -> str:
    if attested is None:
        return (
            "no application's signature is attested: the nodes must have pinned this "
            "application's key (apps add) before the key is made"
        )
    found = f"the key was made for the application with key {signing_key_id(attested)}"
    return f"{found}, this application {'signs nothing' if ours is None else 'has another key'}"


def _require_same_key(attested: Attestation, key: ClaimedKey) -> None:
    algorithm = Algorithm(attested.scheme, attested.curve)
    if algorithm != key.algorithm:
        raise Unattested(f"the attested algorithm is {algorithm}, not {key.algorithm}")
    if attested.key_id != (key.root or key.id):
        raise Unattested(f"another key is attested, {attested.key_id}")
    if (key.root is None) != (not key.path):
        raise Unattested("a derived key has a root and a path, other keys have neither")
    if key.root is None and key.network != attested.network:
        raise Unattested(f"the attested network is {attested.network}")
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
    """Return public key and chain code of a child of the attested key."""
    algorithm = Algorithm(attested.scheme, attested.curve)
    if algorithm != ECDSA_SECP256K1 or attested.chain_code is None:
        raise Unattested("the root is attested without a chain code, so it has no children")
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
        "imported": (key.imported, attested.imported),
    }
    for what, (claimed, found) in told.items():
        if claimed is not None and claimed != found:
            raise Unattested(f"{what}: {found} is attested, not {claimed}")


def _require_address(key: ClaimedKey) -> None:
    if key.address is None:
        return
    network = key.address_network or key.network
    if network is None:
        raise Unattested("the address has no network")
    if key.is_added and not may_have_wallet(key.network, key.algorithm, network):
        raise Unattested(f"a key for {key.network} cannot have a wallet on {network}")
    try:
        expected = address_of(network, key.algorithm, key.public_key)
    except ValueError as error:
        raise Unattested(str(error)) from None
    if key.address != expected:
        raise Unattested(f"the address differs from the attested key's address, {expected}")
