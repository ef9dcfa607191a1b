"""The operations of an application. Each is described once, for both clients.

``wait`` everywhere: seconds until the result must be there; 0 returns the request as it stands.
``external_id``: the application's own name for a request. The same id with the same body gives the
first result again, also after a crash in between; without one, a random id is taken.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from custody.client.calls import (
    Call,
    Calls,
    Wish,
    external_id_or_new,
    get,
    once,
    patch,
    post,
    wish,
)
from custody.client.errors import OnNotAttested, UnexpectedAnswer
from custody.client.left_out import telling
from custody.client.unchanged import UNCHANGED, Unchanged, change_of, listed
from custody.client.waiting import DEFAULT_WAIT, until_final
from custody.wire.algorithms import AddressType, Curve, HashFunction, Network, Scheme, Store
from custody.wire.jobs import Endpoint
from custody.wire.requests import (
    AddWallet,
    CreateKey,
    CreateSignerGroup,
    CreateWallet,
    DeriveKey,
    SignHash,
    SignMessage,
    SignRequest,
    SignTransaction,
)
from custody.wire.resources import (
    AuditRecord,
    Key,
    KeyStatus,
    LatestHead,
    Node,
    Page,
    RegisteredSigner,
    Signature,
    SignatureStatus,
    SignerGroup,
    Wallet,
)

Named = TypeVar("Named", Wallet, Key)


def _named(calls: Calls[Named], external_id: str | None) -> Calls[Named]:
    """Return the result of ``calls`` if the application has given it this name."""
    found = yield from calls
    if external_id is not None and found.external_id != external_id:
        raise UnexpectedAnswer(f"{found.id} has external_id {found.external_id}, not {external_id}")
    return found


def _wallet(wallet_id: UUID | str) -> Call[Wallet]:
    return get(f"/v1/wallets/{wallet_id}", Wallet)


def _key(key_id: UUID | str) -> Call[Key]:
    return get(f"/v1/keys/{key_id}", Key)


def _signature(key_id: UUID | str, signature_id: UUID | str) -> Call[Signature]:
    return get(f"/v1/keys/{key_id}/signatures/{signature_id}", Signature)


def create_wallet(
    network: Network,
    store: Store = Store.HSM,
    *,
    signer_group: str | None = None,
    address_type: AddressType | None = None,
    master_key: UUID | str | None = None,
    path: str | None = None,
    external_id: str | None = None,
    name: str | None = None,
    tags: Iterable[str] = (),
    wait: float = DEFAULT_WAIT,
) -> Calls[Wallet]:
    """Create a wallet, and wait for its address.

    It has a key of its own; of store mpc with shares at ``signer_group``, or else derived from
    ``master_key`` along ``path``. ``address_type`` is for Bitcoin. ``name`` and ``tags`` are of a
    new wallet; for a request that is sent again they change nothing.
    Raises Unsupported, ExternalIdConflict, NotFinal, Failed.
    """
    body = CreateWallet(
        network=network,
        store=store,
        signer_group=signer_group,
        address_type=address_type,
        master_key=None if master_key is None else UUID(str(master_key)),
        path=path,
        external_id=external_id_or_new(external_id),
        name=name,
        tags=listed(tags) or None,
    )
    call = wish("/v1/wallets", Wish(Endpoint.WALLETS, body), Wallet)
    return until_final(call, lambda wallet: _wallet(wallet.id), wait)


def get_wallet(
    wallet_id: UUID | str, *, external_id: str | None = None, wait: float = 0
) -> Calls[Wallet]:
    """Read a wallet. With ``external_id`` it must be the one made under that name.

    Raises NotFound, UnexpectedAnswer for another one; with ``wait`` also NotFinal, Failed.
    """
    calls = until_final(_wallet(wallet_id), lambda wallet: _wallet(wallet.id), wait)
    return _named(calls, external_id)


def list_wallets(
    *,
    status: KeyStatus | None = None,
    external_id: str | None = None,
    network: Network | None = None,
    store: Store | None = None,
    address: str | None = None,
    key_id: UUID | str | None = None,
    name: str | None = None,
    tags: Iterable[str] = (),
    owner: str | None = None,
    archived: bool | None = None,
    on_not_attested: OnNotAttested | None = None,
) -> Call[Page[Wallet]]:
    """Iterate over the application's wallets, newest first; pages are read as needed.

    Each argument is a filter. ``tags``: wallets with all of these. ``name`` and ``address``:
    exactly this one. ``owner``: wallets whose key a node of this owner holds. ``archived``: only
    archived ones, or only the others; None for both.

    With pinned nodes, each wallet is checked before you get it. At the first one that they do not
    attest, the list ends with NotAttested, so that no program takes a part for the whole. With
    ``on_not_attested`` the list continues: it leaves out each such wallet, and calls
    on_not_attested(error) with the reason and the id (``error.item_id``), but without the address.
    If that function raises, the list ends. Raises ValueError for an async function, and if no nodes
    are pinned. Any other error ends the list, also UnexpectedAnswer for a wallet that the filters
    exclude.
    """
    call = get(
        "/v1/wallets",
        Page[Wallet],
        status=status,
        external_id=external_id,
        network=network,
        store=store,
        address=address,
        key_id=None if key_id is None else str(UUID(str(key_id))),
        name=name,
        tag=listed(tags) or None,
        owner=owner,
        archived=None if archived is None else str(archived).lower(),
    )
    return telling(call, on_not_attested)


def add_wallet(
    key_id: UUID | str, network: Network, *, name: str | None = None, tags: Iterable[str] = ()
) -> Calls[Wallet]:
    """Add a wallet of an Active key on another network. It is Active at once.

    The network is of the same family as the key's, and a test network if the key's is one; or it
    has a bare key's algorithm. If the key has a wallet on this network, that one is returned.
    Raises InvalidRequest, KeyNotActive, NotFound.
    """
    body = AddWallet(network=network, name=name, tags=listed(tags) or None)
    wallet = yield from post(f"/v1/keys/{key_id}/wallets", body, Wallet)
    if (wallet.key_id, wallet.network) != (UUID(str(key_id)), network):
        raise UnexpectedAnswer(
            f"asked for a wallet of key {key_id} on {network.value}, was given wallet {wallet.id} "
            f"of key {wallet.key_id} on {wallet.network.value}"
        )
    return wallet


def update_wallet(
    wallet_id: UUID | str,
    *,
    name: str | Unchanged | None = UNCHANGED,
    tags: Iterable[str] | Unchanged | None = UNCHANGED,
) -> Calls[Wallet]:
    """Change a wallet's name or tags, and return the wallet. None removes the name, or all tags.

    ``tags`` replaces all tags. The last change wins. Raises InvalidRequest, NotFound.
    """
    return once(patch(f"/v1/wallets/{wallet_id}", change_of(name, tags), Wallet))


def create_key(
    scheme: Scheme,
    curve: Curve,
    store: Store = Store.HSM,
    *,
    signer_group: str | None = None,
    external_id: str | None = None,
    name: str | None = None,
    tags: Iterable[str] = (),
    wait: float = DEFAULT_WAIT,
) -> Calls[Key]:
    """Create a bare key, and wait until it is Active; of store mpc with shares at ``signer_group``.

    ``name`` and ``tags`` as for create_wallet.
    Raises Unsupported, ExternalIdConflict, NotFinal, Failed.
    """
    body = CreateKey(
        scheme=scheme,
        curve=curve,
        store=store,
        signer_group=signer_group,
        external_id=external_id_or_new(external_id),
        name=name,
        tags=listed(tags) or None,
    )
    call = wish("/v1/keys", Wish(Endpoint.KEYS, body), Key)
    return until_final(call, lambda key: _key(key.id), wait)


def get_key(key_id: UUID | str, *, external_id: str | None = None, wait: float = 0) -> Calls[Key]:
    """Read a key, a wallet's too. With ``external_id``, of a bare key, as for get_wallet.

    Raises NotFound, UnexpectedAnswer for another one; with ``wait`` also NotFinal, Failed.
    """
    return _named(until_final(_key(key_id), lambda key: _key(key.id), wait), external_id)


def list_keys(
    *,
    status: KeyStatus | None = None,
    external_id: str | None = None,
    network: Network | None = None,
    store: Store | None = None,
    scheme: Scheme | None = None,
    curve: Curve | None = None,
    name: str | None = None,
    tags: Iterable[str] = (),
    owner: str | None = None,
    archived: bool | None = None,
    on_not_attested: OnNotAttested | None = None,
) -> Call[Page[Key]]:
    """Iterate over the application's keys, newest first; filters, checks as for list_wallets."""
    call = get(
        "/v1/keys",
        Page[Key],
        status=status,
        external_id=external_id,
        network=network,
        store=store,
        scheme=scheme,
        curve=curve,
        name=name,
        tag=listed(tags) or None,
        owner=owner,
        archived=None if archived is None else str(archived).lower(),
    )
    return telling(call, on_not_attested)


def update_key(
    key_id: UUID | str,
    *,
    name: str | Unchanged | None = UNCHANGED,
    tags: Iterable[str] | Unchanged | None = UNCHANGED,
) -> Calls[Key]:
    """Change a key's name or tags, as update_wallet does a wallet's. Each has its own."""
    return once(patch(f"/v1/keys/{key_id}", change_of(name, tags), Key))


def derive_key(
    key_id: UUID | str,
    path: str,
    *,
    external_id: str | None = None,
    name: str | None = None,
    tags: Iterable[str] = (),
) -> Calls[Key]:
    """Derive a child of an ECDSA key of store mpc, as ``m/0/5`` (BIP-32, unhardened): Active now.

    ``name`` and ``tags`` are of a new child. Raises InvalidRequest, KeyNotActive, KeyArchived,
    ExternalIdConflict.
    """
    body = DeriveKey(
        path=path, external_id=external_id_or_new(external_id), name=name, tags=listed(tags) or None
    )
    wanted = Wish(Endpoint.DERIVATIONS, body, UUID(str(key_id)))
    return once(wish(f"/v1/keys/{key_id}/derive", wanted, Key))


def sign_message(
    key_id: UUID | str,
    message: str | bytes,
    *,
    hash_function: HashFunction | None = None,
    external_id: str | None = None,
    wait: float = DEFAULT_WAIT,
) -> Calls[Signature]:
    """Sign a message the way the key's network means it, and wait for the signature.

    A ``str`` is text and is signed as its UTF-8, also when it starts with 0x. ``hash_function``
    is for bare ECDSA keys, and needed there.
    Raises InvalidRequest, KeyNotActive, KeyArchived, ExternalIdConflict, NotFinal, Rejected,
    Failed.
    """
    body = SignMessage(
        kind="Message",
        message=_message(message),
        hash_function=hash_function,
        external_id=external_id_or_new(external_id),
    )
    return _sign(key_id, body, wait)


def sign_hash(
    key_id: UUID | str,
    digest: bytes,
    *,
    external_id: str | None = None,
    wait: float = DEFAULT_WAIT,
) -> Calls[Signature]:
    """Sign a 32-byte digest without hashing it again, and wait for the signature.

    Raises the same errors as sign_message.
    """
    body = SignHash(kind="Hash", hash=digest, external_id=external_id_or_new(external_id))
    return _sign(key_id, body, wait)


def sign_transaction(
    key_id: UUID | str,
    transaction: bytes,
    *,
    external_id: str | None = None,
    wait: float = DEFAULT_WAIT,
) -> Calls[Signature]:
    """Sign a Solana transaction, given as its serialized message, and wait for the signature.

    The wallet's key must be one of its signers. Errors as for sign_message.
    """
    body = SignTransaction(
        kind="Transaction", transaction=transaction, external_id=external_id_or_new(external_id)
    )
    return _sign(key_id, body, wait)


def _message(message: str | bytes) -> str:
    """Return the form that travels: hex for bytes, and for text that looks like hex."""
    if isinstance(message, bytes):
        return "0x" + message.hex()
    return "0x" + message.encode().hex() if message.startswith("0x") else message


def _sign(key_id: UUID | str, body: SignRequest, wait: float) -> Calls[Signature]:
    wanted = Wish(Endpoint.SIGNATURES, body, UUID(str(key_id)))
    return until_final(
        wish(f"/v1/keys/{key_id}/signatures", wanted, Signature),
        lambda signature: _signature(key_id, signature.id),
        wait,
    )


def get_signature(
    key_id: UUID | str, signature_id: UUID | str, *, wait: float = 0
) -> Calls[Signature]:
    """Read a signature. Raises NotFound; with ``wait`` also NotFinal, Rejected, Failed."""
    return until_final(
        _signature(key_id, signature_id), lambda signature: _signature(key_id, signature.id), wait
    )


def list_signatures(
    key_id: UUID | str, *, status: SignatureStatus | None = None, external_id: str | None = None
) -> Call[Page[Signature]]:
    """Iterate over a key's signatures, newest first; pages are read as needed."""
    path = f"/v1/keys/{key_id}/signatures"
    return get(path, Page[Signature], status=status, external_id=external_id)


def list_nodes(*, group: str | None = None) -> Call[Page[Node]]:
    """Return the drivers, by id: last seen, version, capabilities, health."""
    return get("/v1/nodes", Page[Node], group=group)


def list_audit_records(
    *,
    node: str | None = None,
    kind: str | None = None,
    operator: str | None = None,
    restore: int | None = None,
) -> Call[Page[AuditRecord]]:
    """Iterate over the audit records of a node, newest first. Needs scope admin.

    Without ``node``: over what the control plane's operators did. ``restore``: over the records
    that this restore of the node has cost, which are left out otherwise. Raises NotFound.
    """
    number = None if restore is None else str(restore)
    return get(
        "/v1/audit", Page[AuditRecord], node=node, kind=kind, operator=operator, restore=number
    )


def list_audit_heads() -> Call[Page[LatestHead]]:
    """Return the last signed head of the control plane and of each node. Needs scope admin."""
    return get("/v1/audit/heads", Page[LatestHead])


def create_signer_group(name: str, signers: Sequence[str], threshold: int) -> Calls[SignerGroup]:
    """Make a group of signers, any ``threshold`` of which sign; the same again is the same.

    Raises InvalidRequest, where there is another group of that name too; MissingScope.
    """
    body = CreateSignerGroup(name=name, signers=list(signers), threshold=threshold)
    return once(post("/v1/signer-groups", body, SignerGroup))


def get_signer_group(name: str) -> Calls[SignerGroup]:
    """Read a signer group: who is in it, whose they are. Raises NotFound."""
    return once(get(f"/v1/signer-groups/{name}", SignerGroup))


def list_signer_groups() -> Call[Page[SignerGroup]]:
    """Return all signer groups, by name."""
    return get("/v1/signer-groups", Page[SignerGroup])


def list_signers() -> Call[Page[RegisteredSigner]]:
    """Return the signers, by id: last seen, version, owner, health, bans."""
    return get("/v1/signers", Page[RegisteredSigner])
