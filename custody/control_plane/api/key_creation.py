"""The common part of POST for wallets and bare keys: a GenerateKey job with its rows."""

from typing import TypeVar

from custody.control_plane.api.requests import Posted
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import NewRequest, submit
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.creation import NewKey
from custody.control_plane.resources.external_ids import Settled
from custody.control_plane.resources.key_rows import key_row, wallet_row
from custody.wire.requests import CreateKey, CreateWallet

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
    if body.imported is not None:
        raise ProblemError(Code.INVALID_REQUEST, "imported: this version imports no keys.")
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
