"""Jobs of kind GenerateKey."""

from pydantic import ValidationError

from hsm_driver.possession import prove_possession
from hsm_driver.vault import Vault, row_of
from node.decisions import Denied
from node.handlers import Handled, Work
from wire.algorithms import Algorithm, Network
from wire.jobs import Endpoint, Job
from wire.outcomes import GeneratedKey
from wire.requests import CreateKey, CreateWallet


class GenerateKey:
    """Makes a key in the HSM, and uses its wrapped form once before anybody relies on it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def handle(self, work: Work) -> Handled:
        job = work.job
        algorithm, network = _wanted(job)
        if await self._vault.find(job.key.id) is not None:
            raise Denied("key_exists", f"this node has a key {job.key.id} already")
        key = await self._vault.generate(algorithm)
        await prove_possession(self._vault, job.key.id, key)
        return Handled(
            result=GeneratedKey(
                scheme=algorithm.scheme,
                curve=algorithm.curve,
                public_key=key.public_key,
                protection=key.protection,
            ),
            audit={
                "public_key": key.public_key.hex(),
                "protection": key.protection.value,
                "master_key": key.master_key,
            },
            rows=[row_of(job.key.id, network, key)],
        )


def _wanted(job: Job) -> tuple[Algorithm, Network | None]:
    """What the application asked for. Raises Denied when the job says something else."""
    if job.id != job.key.id or job.key.public_key is not None:
        raise Denied("malformed_job", "a GenerateKey job has the key's id and no public key")
    try:
        network: Network | None = None
        if job.endpoint is Endpoint.WALLETS:
            wallet = CreateWallet.model_validate_json(job.request)
            algorithm, network = wallet.algorithm, wallet.network
        else:
            algorithm = CreateKey.model_validate_json(job.request).algorithm
    except ValidationError as error:
        raise Denied(
            "malformed_request", f"the request has {error.error_count()} malformed fields"
        ) from None
    if (algorithm, network) != (job.key.algorithm, job.key.network):
        raise Denied("request_mismatch", "the job is not for the key that the request asks for")
    return algorithm, network
