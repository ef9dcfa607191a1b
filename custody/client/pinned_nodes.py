"""The facts of a key that an application trusts: those of its pinned nodes, not the service's.

Each wallet and key is checked before the application gets it; so is one in an error.
"""

import tomllib
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import Field, ValidationError

from custody.client.as_asked import derivation, require_as_asked, require_asked_id
from custody.client.calls import Answer, Call, Calls, Wish, get, get_if_there
from custody.client.errors import Ended, NotAttested, NotFinal
from custody.wire.algorithms import Algorithm
from custody.wire.answers import known
from custody.wire.attestations import ClaimedKey, PinnedGroup, PinnedNodes, check_attestations
from custody.wire.derivation import child_public_key, parse_path
from custody.wire.encoding import Base64Bytes, Model
from custody.wire.import_attestations import AskedImport, check_import
from custody.wire.jobs import wallet_id_of
from custody.wire.requests import CreateImport
from custody.wire.resources import Import, ImportStatus, Key, Wallet
from custody.wire.statements import AS_COPIED, Attestation


class _SignerGroup(Model):
    """A group as its owner pins it: how many of which signers sign."""

    threshold: int
    signers: list[str]


class _PinnedNodesFile(Model):
    """``drivers``, ``signers``: identity keys by node id, in base64, as ``identity show`` prints.

    ``application``: the public key of the one that signs this application's requests, where the
    process that reads the file does not have the private key.
    """

    application: Base64Bytes | None = None
    drivers: dict[str, Base64Bytes] = Field(default_factory=dict)
    signers: dict[str, Base64Bytes] = Field(default_factory=dict)
    driver_groups: dict[str, list[str]] = Field(default_factory=dict)
    signer_groups: dict[str, _SignerGroup] = Field(default_factory=dict)


def read_pinned_nodes(path: Path | str) -> PinnedNodes:
    """Pinned nodes from a TOML file: keys of drivers and signers, and the groups that they are in.

    docs/how-to/pin-nodes.md has an example. Raises ValueError.
    """
    try:
        pins = _PinnedNodesFile.model_validate(tomllib.loads(Path(path).read_text("utf-8")))
        groups = {
            name: PinnedGroup(group.threshold, group.signers)
            for name, group in pins.signer_groups.items()
        }
        return PinnedNodes(pins.drivers, pins.signers, pins.driver_groups, groups, pins.application)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        faults = "; ".join(f"{_place(each['loc'])}: {each['msg']}" for each in error.errors())
        raise ValueError(f"{path}: {faults}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


class AttestedKeys:
    """Lets through what the pinned nodes attest, and raises NotAttested for anything else."""

    def __init__(self, pinned: PinnedNodes | Path | str, application: bytes | None = None) -> None:
        """``pinned``, or the file that has them. ``application``: the key that signs requests.

        Raises ValueError for a file that cannot be read, or with another application's key.
        """
        pinned = pinned if isinstance(pinned, PinnedNodes) else read_pinned_nodes(pinned)
        if application is not None:
            pinned = pinned.of_application(application)
        self._pinned = pinned

    def signer_group(self, name: str) -> PinnedGroup:
        """Return a pinned signer group. Raise NotAttested if there is none of this name."""
        try:
            return self._pinned.signer_group(name)
        except ValueError as error:
            raise NotAttested(str(error)) from None

    def checked(self, calls: Calls[Answer]) -> Calls[Answer]:
        """Return the same operation, followed by the check of its result."""
        wish: Wish | None = None
        answer: Any = None
        while True:
            try:
                call: Call[Any] = calls.send(answer)
            except StopIteration as end:
                result: Answer = end.value
                yield from self.check(result, wish)
                return result
            except (NotFinal, Ended) as error:
                yield from self.check(error.resource, wish)
                raise
            wish = call.wish or wish
            answer = yield call
            if isinstance(answer, Import) and _has_import_keys(answer):
                self._check_import(answer, wish)
            if call.method in ("GET", "PATCH") and isinstance(answer, Wallet | Key):
                _require_id(call, answer)

    def check(self, found: object, wish: Wish | None = None) -> Calls[None]:
        """Raise NotAttested for a wallet or key; anything else has no address. May read a key."""
        if isinstance(found, Wallet):
            yield from self._check_wallet(found, wish)
        elif isinstance(found, Key):
            require_as_asked(found, wish)
            require_asked_id(found, wish)
            yield from self._check_key(found, None)
            yield from self._check_child(found, wish)

    def _check_import(self, found: Import, wish: Wish | None) -> None:
        """Raise NotAttested unless the pinned nodes state import keys for the asked import."""
        asked = None if wish is None else wish.request
        if not isinstance(asked, CreateImport):
            raise NotAttested(f"import {found.id} was not asked for")
        try:
            check_import(
                found.statements,
                AskedImport(found.id, asked.store, asked.algorithm, asked.signer_group),
                self._pinned,
            )
        except ValueError as error:
            raise NotAttested(f"import {found.id}: {error}") from None

    def _check_wallet(self, wallet: Wallet, wish: Wish | None) -> Calls[None]:
        require_as_asked(wallet, wish)
        if wallet.address is None:
            return
        require_asked_id(wallet, wish)
        key = yield from get_if_there(f"/v1/keys/{wallet.key_id}", Key)
        if key is None:
            raise NotAttested(f"wallet {wallet.id}: the service does not have its key")
        require_as_asked(key, wish)
        told = (wallet.key_id, wallet.store, wallet.imported)
        is_its = wallet.signer_group in (None, key.signer_group)
        if told != (key.id, key.store, key.imported) or not is_its:
            raise NotAttested(f"wallet {wallet.id} is shown with another key than its own")
        _require_wallet_of(wallet, key)
        if key.public_key is None:
            raise NotAttested(f"wallet {wallet.id} has an address, and its key no public key")
        yield from self._check_key(key, wallet)
        yield from self._check_child(key, wish)

    def _check_child(self, key: Key, wish: Wish | None) -> Calls[None]:
        """That a key which was to be derived is the child that was meant, and no other."""
        asked = derivation(wish)
        if asked is None or key.public_key is None:
            return
        parent_id, path = asked
        parent = yield from get(f"/v1/keys/{parent_id}", Key)
        if parent.id != parent_id or parent.public_key is None or parent.chain_code is None:
            raise NotAttested(f"key {parent_id} is not shown with what its children follow from")
        yield from self._check_key(parent, None)
        if key.root != (parent.root or parent.id):  # a copy of the parent has children, too
            raise NotAttested(f"key {key.id} is derived from another key than {parent_id}")
        child = child_public_key(parent.public_key, parent.chain_code, parse_path(path))
        if key.public_key != child:
            raise NotAttested(f"key {key.id} is not the child {path} of key {parent_id}")

    def _check_key(self, key: Key, wallet: Wallet | None) -> Calls[None]:
        """Raise NotAttested unless the nodes attest the key, and a copy is what was copied."""
        attested = self._attested(key, wallet)
        if attested is None:
            return
        seen = {attested.key_id}
        while (origin_id := _copied_from(attested)) is not None:
            if origin_id in seen:
                raise NotAttested(f"key {origin_id} is attested as a copy of its own copy")
            seen.add(origin_id)
            origin = yield from get_if_there(f"/v1/keys/{origin_id}", Key)
            if origin is None:
                _require_signed_copy(attested, origin_id)
                return
            attested = self._check_copy(attested, origin, origin_id)

    def _check_copy(self, copy: Attestation, origin: Key, origin_id: UUID) -> Attestation:
        """Return what the old signers attest of the key that was copied, if the copy is that key.

        The new signers have the old group's threshold and signers from others. If no application
        has signed them, the new signers' word does not show that a copy is the same key: fewer than
        t old signers could have made it up.
        """
        attested = self._attested(origin, None)
        if attested is None or (origin.id, attested.key_id) != (origin_id, origin_id):
            raise NotAttested(f"key {origin_id}, which key {copy.key_id} copies, is not shown")
        for name in AS_COPIED:
            if getattr(copy, name) != getattr(attested, name):
                raise NotAttested(
                    f"key {copy.key_id} is a copy of key {origin_id}, and has another {name}"
                )
        return attested

    def _attested(self, key: Key, wallet: Wallet | None) -> Attestation | None:
        """Return what the pinned nodes attest of the key, or of its root; None while Pending."""
        if key.public_key is None:
            return None
        try:
            return check_attestations(
                key.attestations, _claimed(key, key.public_key, wallet), self._pinned
            )
        except ValueError as error:
            raise NotAttested(f"key {key.id}: {error}") from None


def _has_import_keys(found: Import) -> bool:
    """Return True also for a status other than Ready: only this check decides what is sealed to."""
    return bool(found.statements) or found.status is ImportStatus.READY


def checked_without_pins(calls: Calls[Answer]) -> Calls[Answer]:
    """Return the same operation. Raise ValueError if it needs pinned nodes, which are missing."""
    answer: Any = None
    while True:
        try:
            call = calls.send(answer)
        except StopIteration as end:
            result: Answer = end.value
            return result
        if call.needs_pinned_nodes:
            raise ValueError(
                "pin the nodes first (pinned_nodes, or CUSTODY_PINNED_NODES_FILE): a key is "
                "imported to pinned nodes only"
            )
        answer = yield call


def _require_wallet_of(wallet: Wallet, key: Key) -> None:
    """Raise NotAttested unless the wallet's id follows from the key and the wallet's network.

    Nodes attest the key alone. Without this check, a wallet that was asked for by its id could be
    shown with another key of the application. A further wallet, on another network than the key's,
    has no external id that could be another wallet's, and neither has a wallet of a copy.
    """
    try:
        network = known(wallet.network)
    except ValueError as error:
        raise NotAttested(f"wallet {wallet.id}: {error}") from None
    is_added = network is not key.network
    if wallet.id != wallet_id_of(key.id, network if is_added else None):
        raise NotAttested(f"wallet {wallet.id} is not the wallet of key {key.id} on {network}")
    if wallet.external_id is not None and (is_added or key.copied_from is not None):
        raise NotAttested(f"wallet {wallet.id} of key {key.id} was added, and has an external_id")


def _require_signed_copy(copy: Attestation, origin_id: UUID) -> None:
    """Raise NotAttested for a copy of a key that is gone, unless its new signers know who dealt it.

    A service that lost its database does not know a key again whose old signers have erased it. If
    the new signers have verified this application's request, that names the old group, they have
    taken the dealings of t of its signers only. ``copy``: its application is checked before.
    """
    if copy.made_for is None or copy.made_for.application is None:
        raise NotAttested(
            f"key {copy.key_id} is a copy of key {origin_id}, which the service does not have. No "
            "signature of the request for the copy is attested, so nothing shows that it is that "
            "key"
        )


def _copied_from(attested: Attestation) -> UUID | None:
    return None if attested.made_for is None else attested.made_for.copied_from


def _claimed(key: Key, public_key: bytes, wallet: Wallet | None) -> ClaimedKey:
    """``wallet``: the one that the key was read for, if any. Raises ValueError."""
    was_made_for_wallet = key.network is not None and key.copied_from is None
    return ClaimedKey(
        id=key.id,
        root=key.root,
        path=() if key.path is None else parse_path(key.path),
        store=known(key.store),
        algorithm=Algorithm(known(key.scheme), known(key.curve)),
        public_key=public_key,
        network=None if key.network is None else known(key.network),
        address=None if wallet is None else wallet.address,
        address_network=None if wallet is None else known(wallet.network),
        chain_code=key.chain_code,
        protection=None if key.protection is None else known(key.protection),
        group=key.signer_group,
        threshold=key.threshold,
        signers=None if key.signers is None else tuple(key.signers),
        external_id=wallet.external_id if wallet and was_made_for_wallet else key.external_id,
        imported=key.imported,
        copied_from=key.copied_from,
    )


def _require_id(call: Call[Any], found: Wallet | Key) -> None:
    if call.path.rpartition("/")[2] != str(found.id):
        raise NotAttested(f"{call.path} shows another one, {found.id}")
