"""Destroys import keys that were used, have expired, or are left over from a crash."""

import asyncio
from contextlib import suppress
from uuid import UUID

import structlog

from custody.database.causes import is_transient
from custody.node.errors import Failed
from custody.pkcs11.hsm_imports import HsmImports
from hsm_driver.import_keys import ImportRows

SWEEP_SECONDS = 60.0

log = structlog.get_logger()


class ImportSweep:
    """Sweeps each token of the driver at its start, after each import, and when a key expires."""

    def __init__(self, imports: HsmImports, rows: ImportRows) -> None:
        self._imports = imports
        self._rows = rows
        self._woken = asyncio.Event()
        self._swept: set[UUID] = set()
        """The imports that ended, and have no key on any of this driver's tokens."""
        self._is_first = True

    def wake(self) -> None:
        """Have the next sweep begin now."""
        self._woken.set()

    async def run(self) -> None:
        """Sweep every minute until cancelled. A failure is repeated later."""
        while True:
            try:
                await self.sweep()
            except Failed as error:
                log.warning("import keys are not swept", reason=error.reason)
            except Exception as error:
                if not is_transient(error):
                    raise
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), SWEEP_SECONDS)
            self._woken.clear()

    async def sweep(self) -> None:
        """Destroy what is over. Ask the HSM only if something may be there. Raise Failed."""
        dead = await self._rows.dead()
        if not (self._is_first or dead - self._swept):
            return
        for token in self._imports.token_names:
            await self._sweep_token(token)
        if self._imports.are_all_there:
            self._swept, self._is_first = dead, False
        await self._rows.purge()

    async def _sweep_token(self, token: str) -> None:
        present = await self._imports.present(token)
        if not present:
            return
        # read after the token: the row of a key is committed before the key is made
        over = set(present) - await self._rows.alive(present)
        if not over:
            return
        left = set(await self._imports.remove(token, sorted(over))) & over
        log.info("import keys destroyed", token=token, number=len(over) - len(left))
        if left:
            log.error(
                "the token keeps import keys that are over",
                token=token,
                imports=[str(each) for each in sorted(left)],
            )
