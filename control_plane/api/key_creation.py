"""What POST of a wallet and of a bare key share: a GenerateKey job with its rows."""

from uuid import UUID

from control_plane.api.request_signatures import check_lives, detached_signature
from control_plane.api.services import Services
from control_plane.creation import NewKey
from control_plane.external_ids import Settled, find_first
from control_plane.new_jobs import Submission
from control_plane.problems import Code
from control_plane.tokens import Caller
from wire.jobs import Job
from wire.requests import CreateKey, CreateWallet

PROBLEMS = (Code.UNSUPPORTED_ALGORITHM, Code.NO_CAPABLE_NODE, Code.REQUEST_EXPIRED)


async def create(
    services: Services,
    caller: Caller,
    body: CreateKey | CreateWallet,
    text: bytes,
    signature: str | None,
    wallet_id: UUID | None,
) -> Settled:
    """Ask a group of nodes for a new key. Raises ProblemError when it cannot, or on a conflict.

    A repeated external id gets its first result even where no node could do it any more.
    """
    group = services.groups.serving(body.store)
    submission = Submission(caller.application_id, group, text, detached_signature(signature))
    job, new = services.job_maker.generate_key(submission, body)
    first = await find_first(services.database, new)
    if first is not None:
        return first
    await check_lives(body, new, services.database)
    await services.groups.check(group, body.algorithm)
    key = _key_row(submission, job, body)
    wallet = None if wallet_id is None else _wallet_row(submission, job, wallet_id)
    return await services.creation.key(NewKey(new, key, wallet))


def _key_row(submission: Submission, job: Job, body: CreateKey | CreateWallet) -> dict[str, object]:
    return {
        "id": job.key.id,
        "application_id": submission.application_id,
        "node_group": submission.node_group,
        "store": body.store,
        "scheme": job.key.scheme,
        "curve": job.key.curve,
        "network": job.key.network,
        "created_at": job.created_at,
    }


def _wallet_row(submission: Submission, job: Job, wallet_id: UUID) -> dict[str, object]:
    return {
        "id": wallet_id,
        "application_id": submission.application_id,
        "network": job.key.network,
        "key_id": job.key.id,
        "created_at": job.created_at,
    }
