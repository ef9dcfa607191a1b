"""Imports of private keys, described once for both clients (custody.client.operations)."""

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from custody.client.calls import Call, Calls, Wish, external_id_or_new, get, wish
from custody.client.errors import NotAttested, UnexpectedAnswer
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.sealed_key import seal_key
from custody.client.unchanged import listed
from custody.client.waiting import DEFAULT_WAIT, until_final
from custody.wire.algorithms import AddressType, Network, Protection, Store
from custody.wire.imports import ImportedKey, ImportKeyStatement
from custody.wire.jobs import Endpoint
from custody.wire.requests import CreateImport, CreateKey, CreateWallet
from custody.wire.resources import Import, ImportStatus, Key, Wallet


def import_wallet(
    private_key: PrivateKey,
    network: Network,
    store: Store = Store.HSM,
    *,
    signer_group: str | None = None,
    address_type: AddressType | None = None,
    allow_host: bool = False,
    external_id: str | None = None,
    name: str | None = None,
    tags: Iterable[str] = (),
    wait: float = DEFAULT_WAIT,
) -> Calls[Wallet]:
    """Import a private key for a wallet, and wait for its address. Needs pinned nodes.

    The key is encrypted to import keys that the pinned nodes have signed. For Taproot the output
    key is imported. ``allow_host``: also to a driver that decrypts the key on its host.
    ``external_id``, ``name``, ``tags`` and ``wait``: as for create_wallet; ``wait`` counts twice,
    for the import too.
    Raises BadPrivateKey, NotAttested, and the errors of create_wallet.
    """
    key = private_key.for_wallet(network, address_type)
    body = CreateWallet(  # before the import: a bad argument must not use one up
        network=network,
        store=store,
        signer_group=signer_group,
        address_type=address_type,
        external_id=external_id_or_new(external_id),
        name=name,
        tags=listed(tags) or None,
    )
    imported = yield from _sealed(key, store, signer_group, allow_host, wait)
    body = body.model_copy(update={"imported": imported})
    call = wish("/v1/wallets", Wish(Endpoint.WALLETS, body), Wallet)
    return (
        yield from until_final(call, lambda wallet: get(f"/v1/wallets/{wallet.id}", Wallet), wait)
    )


def import_key(
    private_key: PrivateKey,
    store: Store = Store.HSM,
    *,
    signer_group: str | None = None,
    allow_host: bool = False,
    external_id: str | None = None,
    name: str | None = None,
    tags: Iterable[str] = (),
    wait: float = DEFAULT_WAIT,
) -> Calls[Key]:
    """Import a private key as a bare key, and wait until it is Active. As for import_wallet.

    Raises BadPrivateKey, NotAttested, and the errors of create_key.
    """
    scheme, curve = private_key.algorithm
    body = CreateKey(
        scheme=scheme,
        curve=curve,
        store=store,
        signer_group=signer_group,
        external_id=external_id_or_new(external_id),
        name=name,
        tags=listed(tags) or None,
    )
    imported = yield from _sealed(private_key, store, signer_group, allow_host, wait)
    body = body.model_copy(update={"imported": imported})
    call = wish("/v1/keys", Wish(Endpoint.KEYS, body), Key)
    return (yield from until_final(call, lambda key: get(f"/v1/keys/{key.id}", Key), wait))


def _sealed(
    key: PrivateKey, store: Store, signer_group: str | None, allow_host: bool, wait: float
) -> Calls[ImportedKey]:
    """Ask for an import, and encrypt the key to it. The client has checked the statements then."""
    if store is Store.HSM:
        key.require_form_for_hsm()
    scheme, curve = key.algorithm
    body = CreateImport(
        scheme=scheme,
        curve=curve,
        store=store,
        signer_group=signer_group,
        external_id=external_id_or_new(None),
    )
    call = replace(
        wish("/v1/imports", Wish(Endpoint.IMPORTS, body), Import), needs_pinned_nodes=True
    )
    patience = wait if wait > 0 else DEFAULT_WAIT
    found = yield from until_final(call, lambda each: _import(each.id), patience)
    if found.status is not ImportStatus.READY:  # a second lock: the key goes to these statements
        raise UnexpectedAnswer(f"import {found.id} is {found.status.value}, not Ready")
    statements = [
        ImportKeyStatement.model_validate_json(signed.payload) for signed in found.statements
    ]
    for each in statements:
        if each.protection is Protection.HOST and not allow_host:
            raise NotAttested(
                f"{each.node} decrypts {scheme}/{curve} keys on its host (protection host). If "
                "that is acceptable: allow_host=True"
            )
    try:
        return seal_key(key, statements)
    except ValueError as error:
        raise UnexpectedAnswer(f"import {found.id}: {error}") from None


def _import(import_id: UUID) -> Call[Import]:
    return get(f"/v1/imports/{import_id}", Import)
