"""New rows of keys and wallets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from custody.control_plane.jobs.queue import NewJob
from custody.wire.algorithms import Store
from custody.wire.jobs import KeyReference, wallet_id_of
from custody.wire.outcomes import GeneratedKey
from custody.wire.signed_bytes import SignedBytes


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A new row of ``keys``.

    ``path``: numbers with spaces between them, as unnest takes them. ``attestations``: JSON.
    """

    id: UUID
    application_id: UUID
    node_group: str
    store: str
    scheme: str
    curve: str
    network: str | None
    created_at: datetime
    signer_group: str | None
    root_id: UUID | None
    path: str | None
    public_key: bytes | None
    protection: str | None
    chain_code: bytes | None
    attestations: str
    imported: bool
    copied_from: UUID | None
    name: str | None


@dataclass(frozen=True, slots=True)
class WalletRow:
    """A new row of ``wallets``."""

    id: UUID
    application_id: UUID
    network: str
    key_id: UUID
    address: str | None
    created_at: datetime
    node_group: str
    signer_group: str | None
    store: str
    name: str | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key's row with the job that makes it; where a wallet was asked for, the wallet's row.

    ``tags``: the wallet's; without a wallet the key's.
    """

    job: NewJob
    key: KeyRow
    wallet: WalletRow | None
    tags: Sequence[str] = ()


def key_row(
    new: NewJob,
    key: KeyReference,
    store: Store,
    *,
    signer_group: str | None = None,
    result: GeneratedKey | None = None,
    chain_code: bytes | None = None,
    attestations: Sequence[SignedBytes] = (),
    imported: bool = False,
    copied_from: UUID | None = None,
    name: str | None = None,
) -> KeyRow:
    """Return a row of ``keys``; with a ``result``, of a key that is there already.

    ``imported``: the private key, or that of the root, came from the application.
    """
    return KeyRow(
        id=key.id,
        application_id=new.application_id,
        node_group=new.node_group,
        store=store,
        scheme=key.scheme,
        curve=key.curve,
        network=key.network,
        created_at=new.created_at,
        signer_group=signer_group,
        root_id=key.root,
        path=" ".join(map(str, key.path)) or None,
        public_key=None if result is None else result.public_key,
        protection=None if result is None else result.protection,
        chain_code=chain_code,
        attestations=json.dumps([signed.model_dump(mode="json") for signed in attestations]),
        imported=imported,
        copied_from=copied_from,
        name=name,
    )


def wallet_row(new: NewJob, key: KeyRow, address: str | None, name: str | None = None) -> WalletRow:
    """Return the row of ``wallets`` for a new key."""
    assert key.network is not None
    return WalletRow(
        id=wallet_id_of(key.id),
        application_id=new.application_id,
        network=key.network,
        key_id=key.id,
        address=address,
        created_at=new.created_at,
        node_group=key.node_group,
        signer_group=key.signer_group,
        store=key.store,
        name=name,
    )
