"""The common part of POST for wallets and bare keys: a GenerateKey job with its rows."""

import json
from collections.abc import Sequence
from typing import TypeVar

from custody.control_plane.api.requests import Posted
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import NewRequest, submit
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code
from custody.control_plane.resources.creation import KeyRow, NewKey, WalletRow
from custody.control_plane.resources.external_ids import Settled
from custody.wire.algorithms import Store
from custody.wire.jobs import KeyReference, wallet_id_of
from custody.wire.outcomes import GeneratedKey
from custody.wire.requests import CreateKey, CreateWallet
from custody.wire.signed_bytes import SignedBytes

PROBLEMS = (
    Code.UNSUPPORTED_ALGORITHM,
    Code.NO_CAPABLE_NODE,
    Code.REQUEST_EXPIRED,
    Code.UNKNOWN_SIGNER_GROUP,
    Code.NO_DELIVERY_SERVER,
)


AnyCreate = TypeVar("AnyCreate", CreateKey, CreateWallet)


async def create(services: Services, posted: Posted[AnyCreate]) -> Settled:
    """Ask a group of nodes for a new key. Raises ProblemError."""
    body = posted.body
    group = services.groups.serving(body.store)
    draft = services.job_maker.generate_key(posted.for_group(group), body)
    key = draft.job.key

    async def require_capable() -> None:
        if body.signer_group is None:
            await services.groups.check(group, body.algorithm)
        else:
            await services.signer_groups.check(body.signer_group, body.algorithm)

    async def add(new: NewJob) -> Settled:
        row = key_row(new, key, body.store, signer_group=body.signer_group)
        wallet = None if key.network is None else wallet_row(new, key, address=None)
        return await services.creation.key(NewKey(new, row, wallet))

    return await submit(
        services, NewRequest(body, draft, add, require_capable, looks_up_first=True)
    )


def key_row(
    new: NewJob,
    key: KeyReference,
    store: Store,
    *,
    signer_group: str | None = None,
    result: GeneratedKey | None = None,
    chain_code: bytes | None = None,
    attestations: Sequence[SignedBytes] = (),
) -> KeyRow:
    """Return a row of ``keys``; with a ``result``, of a key that is there already."""
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
    )


def wallet_row(new: NewJob, key: KeyReference, address: str | None) -> WalletRow:
    """Return a row of ``wallets``."""
    assert key.network is not None  # CreateWallet has one
    return WalletRow(
        id=wallet_id_of(key.id),
        application_id=new.application_id,
        network=key.network,
        key_id=key.id,
        address=address,
        created_at=new.created_at,
    )
