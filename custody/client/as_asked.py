"""What a request has asked for, and its answer must be. Pure.

The nodes attest what they hold. Only the request says what the application wanted.
"""

from typing import Any
from uuid import UUID

from custody.client.calls import Call, Wish
from custody.client.errors import NotAttested, UnexpectedAnswer
from custody.wire.requests import CopyKey, CreateKey, CreateWallet, DeriveKey
from custody.wire.resources import Key, Wallet

AS_ASKED = ("store", "network", "scheme", "curve", "signer_group")
"""What a request for a key says, and its answer must say again."""
FILTERS = ("external_id", "network", "address", "key_id")
"""The filters of lists by which an application finds one wallet, key or signature."""


def require_filtered(found: object, call: Call[Any]) -> None:
    """Raise UnexpectedAnswer for an item of a list that the call's filters leave out.

    The nodes attest another wallet of the application, too.
    """
    for name in FILTERS:
        asked, given = call.query.get(name), getattr(found, name, None)
        if asked is not None and asked != (None if given is None else str(given)):
            raise UnexpectedAnswer(f"{name}: asked for {asked}, was given {given}")
    if isinstance(found, Key) and call.path.endswith("/copies"):
        key_id = call.path.split("/")[-2]
        if found.copied_from != UUID(key_id):
            raise UnexpectedAnswer(f"key {found.id} is not a copy of key {key_id}")


def derivation(wish: Wish | None) -> tuple[UUID, str] | None:
    """Return the parent and the path of a key to derive."""
    match wish:
        case Wish(request=CreateWallet(master_key=UUID() as parent, path=str(path))):
            return parent, path
        case Wish(request=DeriveKey(path=path), key_id=UUID() as parent):
            return parent, path
        case _:
            return None


def require_asked_id(found: Wallet | Key, wish: Wish | None) -> None:
    """Raise NotAttested for a key that was made for another request of this application.

    Of what is derived, root and path say that: a child has the name under which it was first
    derived.
    """
    is_new = wish is not None and isinstance(wish.request, CreateWallet | CreateKey | CopyKey)
    if wish is None or not is_new or derivation(wish) is not None:
        return
    if found.external_id != wish.request.external_id:
        raise NotAttested(
            f"external_id: asked for {wish.request.external_id}, was given {found.external_id}"
        )


def require_as_asked(found: Wallet | Key, wish: Wish | None) -> None:
    """Raise NotAttested if the service gives another kind of key: it could be less safe."""
    if wish is not None and isinstance(wish.request, CopyKey) and isinstance(found, Key):
        _require_copy(found, wish.request, wish.key_id)
    if wish is None or not isinstance(wish.request, CreateWallet | CreateKey):
        return
    asks_import = wish.request.imported is not None
    if derivation(wish) is None and found.imported != asks_import:
        raise NotAttested(
            f"{found.id} is shown as {'imported' if found.imported else 'generated'}, and the "
            "request was for another kind of key"
        )
    if isinstance(found, Key) and derivation(wish) is None and found.copied_from is not None:
        raise NotAttested(
            f"key {found.id} is a copy of key {found.copied_from}, and the request was for a key "
            "of its own"
        )
    for name in AS_ASKED:
        asked, given = getattr(wish.request, name, None), getattr(found, name, None)
        if asked is not None and hasattr(found, name) and asked != given:
            raise NotAttested(f"{name}: asked for {asked}, was given {given}")
    imported = wish.request.imported
    public_key = found.public_key if isinstance(found, Key) else None
    if imported is not None and public_key not in (None, imported.public_key):
        raise NotAttested(f"key {found.id} has another public key than the imported key")
    if isinstance(found, Key) and (found.scheme, found.curve) != wish.request.algorithm:
        raise NotAttested(f"asked for a key of {wish.request.algorithm}, was given another")


def _require_copy(found: Key, asked: CopyKey, origin_id: UUID | None) -> None:
    """Raise NotAttested unless the key is shown as a copy of the asked key for the asked group."""
    if (found.copied_from, found.signer_group) != (origin_id, asked.signer_group):
        raise NotAttested(
            f"asked for a copy of key {origin_id} for {asked.signer_group}, was given a copy of "
            f"key {found.copied_from} for {found.signer_group}"
        )
