"""Changes and copies of keys, described once for both clients (custody.client.operations)."""

from uuid import UUID

from custody.client.calls import Call, Calls, Wish, external_id_or_new, get, once, wish
from custody.client.errors import OnNotAttested, UnexpectedAnswer
from custody.client.left_out import telling
from custody.client.waiting import DEFAULT_WAIT, until_final
from custody.wire.jobs import Endpoint
from custody.wire.requests import ArchiveKey, CopyKey, RefreshKey, RepairShare, UnarchiveKey
from custody.wire.resources import Key, KeyChange, Page


def refresh_key(
    key_id: UUID | str, *, external_id: str | None = None, wait: float = DEFAULT_WAIT
) -> Calls[KeyChange]:
    """Have all signers replace their shares of a key of store mpc, and wait until they have.

    Raises InvalidRequest, KeyNotActive, ExternalIdConflict, NotFinal, Rejected, Failed.
    """
    body = RefreshKey(external_id=external_id_or_new(external_id))
    return _change(key_id, "refresh", Wish(Endpoint.REFRESHES, body, UUID(str(key_id))), wait)


def repair_share(
    key_id: UUID | str, signer: str, *, external_id: str | None = None, wait: float = DEFAULT_WAIT
) -> Calls[KeyChange]:
    """Have t signers give another one its lost share back, then all refresh; wait until they have.

    Their operators agree first, on their hosts: ``mpc-signer repair approve``. Errors as for
    refresh_key.
    """
    body = RepairShare(signer=signer, external_id=external_id_or_new(external_id))
    return _change(key_id, "repair", Wish(Endpoint.REPAIRS, body, UUID(str(key_id))), wait)


def archive_key(
    key_id: UUID | str, *, external_id: str | None = None, wait: float = DEFAULT_WAIT
) -> Calls[KeyChange]:
    """Have the nodes sign nothing with a key, nor with keys derived from it; wait until all obey.

    New signatures are refused at once, also while the request is open.
    Raises KeyNotActive, ChangeUnderWay, ExternalIdConflict, NotFinal, Rejected, Failed.
    """
    body = ArchiveKey(external_id=external_id_or_new(external_id))
    return _change(key_id, "archive", Wish(Endpoint.ARCHIVALS, body, UUID(str(key_id))), wait)


def unarchive_key(
    key_id: UUID | str, *, external_id: str | None = None, wait: float = DEFAULT_WAIT
) -> Calls[KeyChange]:
    """Let an archived key sign again, once the gates of its owners approve; wait until it does.

    Errors as for archive_key. Rejected also if an operator archived the key on a host.
    """
    body = UnarchiveKey(external_id=external_id_or_new(external_id))
    return _change(key_id, "unarchive", Wish(Endpoint.UNARCHIVALS, body, UUID(str(key_id))), wait)


def copy_key(
    key_id: UUID | str,
    signer_group: str,
    *,
    external_id: str | None = None,
    wait: float = DEFAULT_WAIT,
) -> Calls[Key]:
    """Have the signers of a key hand it on to another signer group, and wait for the new key.

    It has an id of its own, and the same public key and address. The old signers keep their shares.
    With pinned nodes, both groups must be pinned, and NotAttested is raised for another key.
    Raises InvalidRequest, KeyNotActive, ExternalIdConflict, NotFinal, Rejected, Failed, and
    UnexpectedAnswer for a new key that is another key.
    """
    origin = yield from once(get(f"/v1/keys/{key_id}", Key))
    body = CopyKey(signer_group=signer_group, external_id=external_id_or_new(external_id))
    wanted = Wish(Endpoint.COPIES, body, UUID(str(key_id)))
    made = yield from until_final(
        wish(f"/v1/keys/{key_id}/copy", wanted, Key),
        lambda key: get(f"/v1/keys/{key.id}", Key),
        wait,
    )
    facts: list[tuple[str, object, object]] = [
        ("origin", made.copied_from, origin.id),
        ("network", made.network, origin.network),
        ("signer group", made.signer_group, signer_group),
    ]
    if made.public_key is not None:  # with wait=0 it may be Pending
        facts.append(("public key", made.public_key, origin.public_key))
        facts.append(("chain code", made.chain_code, origin.chain_code))
    for name, found, right in facts:
        if found != right:
            raise UnexpectedAnswer(f"the copy {made.id} has another {name} than key {key_id}")
    return made


def list_copies(
    key_id: UUID | str, *, on_not_attested: OnNotAttested | None = None
) -> Call[Page[Key]]:
    """Iterate over the copies of a key, newest first, with failed ones. Raises NotFound.

    With pinned nodes each copy is checked; ``on_not_attested`` as for list_wallets.
    """
    return telling(get(f"/v1/keys/{key_id}/copies", Page[Key]), on_not_attested)


def _change(key_id: UUID | str, verb: str, wanted: Wish, wait: float) -> Calls[KeyChange]:
    path = f"/v1/keys/{key_id}/{wanted.endpoint.value}"
    return until_final(
        wish(f"/v1/keys/{key_id}/{verb}", wanted, KeyChange),
        lambda change: get(f"{path}/{change.id}", KeyChange),
        wait,
    )


def get_refresh(key_id: UUID | str, change_id: UUID | str, *, wait: float = 0) -> Calls[KeyChange]:
    """Read a refresh. Raises NotFound; with ``wait`` also NotFinal, Rejected, Failed."""
    return _read_change(f"/v1/keys/{key_id}/refreshes/{change_id}", wait)


def get_repair(key_id: UUID | str, change_id: UUID | str, *, wait: float = 0) -> Calls[KeyChange]:
    """Read a repair. Raises NotFound; with ``wait`` also NotFinal, Rejected, Failed."""
    return _read_change(f"/v1/keys/{key_id}/repairs/{change_id}", wait)


def get_archival(key_id: UUID | str, change_id: UUID | str, *, wait: float = 0) -> Calls[KeyChange]:
    """Read an archival. Raises NotFound; with ``wait`` also NotFinal, Rejected, Failed."""
    return _read_change(f"/v1/keys/{key_id}/archivals/{change_id}", wait)


def get_unarchival(
    key_id: UUID | str, change_id: UUID | str, *, wait: float = 0
) -> Calls[KeyChange]:
    """Read an unarchival. Raises NotFound; with ``wait`` also NotFinal, Rejected, Failed."""
    return _read_change(f"/v1/keys/{key_id}/unarchivals/{change_id}", wait)


def _read_change(path: str, wait: float) -> Calls[KeyChange]:
    call = get(path, KeyChange)
    return until_final(call, lambda _: call, wait)
