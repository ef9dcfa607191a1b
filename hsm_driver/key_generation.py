"""Jobs of kind GenerateKey."""

from hsm_driver.possession import prove_possession
from hsm_driver.vault import Vault, row_of
from node.decisions import Denied
from node.handlers import Handled, Work
from node.wanted import wanted_key
from wire.outcomes import GeneratedKey


class GenerateKey:
    """Makes a key in the HSM, and uses its wrapped form once before anybody relies on it."""

    carries_request = True
    asks_gate = False

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def handle(self, work: Work) -> Handled:
        job = work.job
        if job.id != job.key.id:
            raise Denied("malformed_job", "a GenerateKey job has the key's id")
        wanted = wanted_key(job)
        if await self._vault.find(job.key.id) is not None:
            raise Denied("key_exists", f"this node has a key {job.key.id} already")
        key = await self._vault.generate(wanted.algorithm)
        await prove_possession(self._vault, job.key.id, key)
        return Handled(
            result=GeneratedKey(
                scheme=wanted.algorithm.scheme,
                curve=wanted.algorithm.curve,
                public_key=key.public_key,
                protection=key.protection,
            ),
            audit={
                "public_key": key.public_key.hex(),
                "protection": key.protection.value,
                "master_key": key.master_key,
            },
            rows=[row_of(job.key.id, wanted.network, key)],
        )
