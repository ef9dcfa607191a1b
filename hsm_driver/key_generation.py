"""Jobs of kind GenerateKey."""

from custody.node.handlers import Handled, Work
from custody.node.wanted import wanted_key
from hsm_driver.new_keys import NewKeys
from hsm_driver.vault import Vault


class GenerateKey:
    """Makes a key in the HSM, uses its wrapped form once, and attests that the key is here."""

    carries_request = True
    asks_gate = False

    def __init__(self, vault: Vault, new_keys: NewKeys) -> None:
        self._vault = vault
        self._new_keys = new_keys

    async def handle(self, work: Work) -> Handled:
        wanted = wanted_key(work.job)
        await self._new_keys.require_new(work)
        key = await self._vault.generate(wanted.algorithm)
        return await self._new_keys.keep(work, wanted, key)
