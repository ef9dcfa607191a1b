"""What an application can ask for. Each is described once, for both clients.

``wait`` everywhere: seconds until the result must be there; 0 returns the request as it stands.
``external_id``: the application's own name for a request. The same id with the same body gives the
first result again, also after a crash in between; without one, a random id is taken.
"""

from uuid import UUID, uuid4

from control_plane.client.calls import Call, Steps, Wish, get, wish
from control_plane.client.waiting import until_final
from wire.algorithms import Curve, HashFunction, Network, Scheme, Store
from wire.jobs import Endpoint
from wire.requests import CreateKey, CreateWallet, SignHash, SignMessage
from wire.resources import Key, KeyStatus, Node, Page, Signature, SignatureStatus, Wallet

DEFAULT_WAIT = 60.0


def _external_id(given: str | None) -> str:
    return given if given is not None else f"client-{uuid4()}"


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
    external_id: str | None = None,
    wait: float = DEFAULT_WAIT,
) -> Steps[Wallet]:
    """Create a wallet with a key of its own, and wait for its address.

    Raises Unsupported, ExternalIdConflict, NotFinal, Failed.
    """
    body = CreateWallet(network=network, store=store, external_id=_external_id(external_id))
    call = wish("/v1/wallets", Wish(Endpoint.WALLETS, body), Wallet)
    return until_final(call, lambda wallet: _wallet(wallet.id), wait)


def get_wallet(wallet_id: UUID | str, *, wait: float = 0) -> Steps[Wallet]:
    """Read a wallet. Raises NotFound; with ``wait`` also NotFinal, Failed."""
    return until_final(_wallet(wallet_id), lambda wallet: _wallet(wallet.id), wait)


def list_wallets(
    *, status: KeyStatus | None = None, external_id: str | None = None
) -> Call[Page[Wallet]]:
    """The application's wallets, page after page as they are read, newest first."""
    return get("/v1/wallets", Page[Wallet], status=status, external_id=external_id)


def create_key(
    scheme: Scheme,
    curve: Curve,
    store: Store = Store.HSM,
    *,
    external_id: str | None = None,
    wait: float = DEFAULT_WAIT,
) -> Steps[Key]:
    """Create a bare key, and wait until it is Active.

    Raises Unsupported, ExternalIdConflict, NotFinal, Failed.
    """
    body = CreateKey(scheme=scheme, curve=curve, store=store, external_id=_external_id(external_id))
    call = wish("/v1/keys", Wish(Endpoint.KEYS, body), Key)
    return until_final(call, lambda key: _key(key.id), wait)


def get_key(key_id: UUID | str, *, wait: float = 0) -> Steps[Key]:
    """Read a key, a wallet's too. Raises NotFound; with ``wait`` also NotFinal, Failed."""
    return until_final(_key(key_id), lambda key: _key(key.id), wait)


def list_keys(
    *, status: KeyStatus | None = None, external_id: str | None = None
) -> Call[Page[Key]]:
    """The application's keys, page after page as they are read, newest first."""
    return get("/v1/keys", Page[Key], status=status, external_id=external_id)


def sign_message(
    key_id: UUID | str,
    message: str | bytes,
    *,
    hash_function: HashFunction | None = None,
    external_id: str | None = None,
    wait: float = DEFAULT_WAIT,
) -> Steps[Signature]:
    """Sign a message the way the key's network means it, and wait for the signature.

    A ``str`` is text and is signed as its UTF-8, also when it starts with 0x. ``hash_function``
    is for bare ECDSA keys, and needed there.
    Raises InvalidRequest, KeyNotActive, ExternalIdConflict, NotFinal, Rejected, Failed.
    """
    body = SignMessage(
        kind="Message",
        message=_message(message),
        hash_function=hash_function,
        external_id=_external_id(external_id),
    )
    return _sign(key_id, body, wait)


def sign_hash(
    key_id: UUID | str,
    digest: bytes,
    *,
    external_id: str | None = None,
    wait: float = DEFAULT_WAIT,
) -> Steps[Signature]:
    """Sign a 32-byte digest as it is, and wait for the signature. Errors as for sign_message."""
    body = SignHash(kind="Hash", hash=digest, external_id=_external_id(external_id))
    return _sign(key_id, body, wait)


def _message(message: str | bytes) -> str:
    """The form that travels: hex when it is bytes, or text that would be taken for hex."""
    if isinstance(message, bytes):
        return "0x" + message.hex()
    return "0x" + message.encode().hex() if message.startswith("0x") else message


def _sign(key_id: UUID | str, body: SignHash | SignMessage, wait: float) -> Steps[Signature]:
    wanted = Wish(Endpoint.SIGNATURES, body, UUID(str(key_id)))
    return until_final(
        wish(f"/v1/keys/{key_id}/signatures", wanted, Signature),
        lambda signature: _signature(key_id, signature.id),
        wait,
    )


def get_signature(
    key_id: UUID | str, signature_id: UUID | str, *, wait: float = 0
) -> Steps[Signature]:
    """Read a signature. Raises NotFound; with ``wait`` also NotFinal, Rejected, Failed."""
    return until_final(
        _signature(key_id, signature_id), lambda signature: _signature(key_id, signature.id), wait
    )


def list_signatures(
    key_id: UUID | str, *, status: SignatureStatus | None = None, external_id: str | None = None
) -> Call[Page[Signature]]:
    """A key's signatures, page after page as they are read, newest first."""
    path = f"/v1/keys/{key_id}/signatures"
    return get(path, Page[Signature], status=status, external_id=external_id)


def list_nodes(*, group: str | None = None) -> Call[Page[Node]]:
    """The drivers, by id: last seen, version, capabilities, health."""
    return get("/v1/nodes", Page[Node], group=group)
