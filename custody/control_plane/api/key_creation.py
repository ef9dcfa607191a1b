"""The common part of POST for wallets and bare keys: a job that makes a key, with its rows."""

from typing import TypeVar

from custody.control_plane.api.requests import Posted
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import NewRequest, submit
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code
from custody.control_plane.resources.external_ids import Settled
from custody.control_plane.resources.key_rows import NewKey, key_row, wallet_row
from custody.wire.requests import CreateKey, CreateWallet

PROBLEMS = (
    Code.UNSUPPORTED_ALGORITHM,
    Code.NO_CAPABLE_NODE,
    Code.REQUEST_EXPIRED,
    Code.UNKNOWN_SIGNER_GROUP,
    Code.NO_DELIVERY_SERVER,
    Code.NOT_FOUND,
    Code.IMPORT_NOT_USABLE,
)


AnyCreate = TypeVar("AnyCreate", CreateKey, CreateWallet)


async def create(services: Services, posted: Posted[AnyCreate]) -> Settled:
    """Ask a group of nodes to make or import a key. Raises ProblemError."""
    body = posted.body
    imported = body.imported
    group = services.groups.serving(body.store)
    draft = services.job_maker.generate_key(posted.for_group(group), body)
    key = draft.job.key

    async def require_capable() -> None:
        if body.signer_group is None:
            await services.groups.check(group, body.algorithm)
        else:
            await services.signer_groups.check(body.signer_group, body.algorithm)

    async def add(new: NewJob) -> Settled:
        is_bare, is_imported = key.network is None, imported is not None
        row = key_row(
            new,
            key,
            body.store,
            signer_group=body.signer_group,
            imported=is_imported,
            name=body.name if is_bare else None,
        )
        wallet = None if is_bare else wallet_row(new, row, address=None, name=body.name)
        new_key = NewKey(new, row, wallet, body.tags or ())
        if imported is None:
            return await services.creation.key(new_key)
        return await services.creation.imported_key(new_key, imported.import_id)

    return await submit(
        services, NewRequest(body, draft, add, require_capable, looks_up_first=True)
    )
