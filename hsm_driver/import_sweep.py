"""Destroys import keys that were used, have expired, or are left over from a crash."""

import asyncio
from contextlib import suppress
from uuid import UUID

import structlog

from custody.database.causes import is_transient
from custody.node.errors import Failed
from custody.pkcs11.errors import HsmFailure
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
        self._problems: dict[str, str] = {}
        """Why a token may have import keys that are over, by the token's name."""

    def problem(self) -> str | None:
        """Return which tokens keep import keys that are over; None if no token does."""
        said = [f"token {token!r} {problem}" for token, problem in self._problems.items()]
        return "; ".join(said) or None

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
        """Destroy what is over. Ask the HSM only if something may be there. Raise Failed.

        A token that fails is asked again at the next sweep, and stops no other token's sweep.
        """
        dead = await self._rows.dead()
        if not (self._is_first or self._problems or dead - self._swept):
            return
        for token in self._imports.token_names:
            await self._try_token(token)
        if self._imports.are_all_there and not self._problems:
            self._swept, self._is_first = dead, False
        await self._rows.purge()

    async def _try_token(self, token: str) -> None:
        try:
            left = await self._sweep_token(token)
        except HsmFailure as error:
            problem = f"cannot be swept: {error.reason}"
        else:
            if not left:
                self._problems.pop(token, None)
                return
            problem = f"keeps import keys that are over: {', '.join(map(str, sorted(left)))}"
        if self._problems.get(token) != problem:
            log.error("import keys stay on a token", token=token, problem=problem)
        self._problems[token] = problem

    async def _sweep_token(self, token: str) -> set[UUID]:
        """Destroy the import keys on a token that are over. Return those that the token keeps."""
        over = await over_at(self._imports, self._rows, token)
        if not over:
            return set()
        left = set(await self._imports.remove(token, sorted(over))) & over
        log.info("import keys destroyed", token=token, number=len(over) - len(left))
        return left


async def over_at(imports: HsmImports, rows: ImportRows, token: str) -> set[UUID]:
    """Return the imports that have a key on the token although they are over. Raise Failed."""
    present = await imports.present(token)
    # read after the token: the row of a key is committed before the key is made
    return set(present) - await rows.alive(present) if present else set()
