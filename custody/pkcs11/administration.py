"""An operator's work on the token: make and list master keys, probe capabilities.

In a short-lived worker of its own, so that no command loads the vendor's library itself.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

from custody.pkcs11.endings import ending
from custody.pkcs11.launch import launch
from custody.pkcs11.messages import (
    REWRAP_STEP,
    Answers,
    Capability,
    Extract,
    Extracted,
    Failure,
    ImportKeys,
    ImportTried,
    KnownKey,
    ListImportKeys,
    ListMasterKeys,
    Lost,
    MakeMasterKey,
    MasterKeyRecord,
    MasterKeys,
    Operation,
    Outcome,
    Probe,
    Probed,
    RemoveImportKeys,
    TrialPart,
    Tried,
    TriedStep,
    TryImport,
    TryToken,
)
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.worker_process import WorkerProcess
from custody.runtime.errors import OperatorError

DEADLINE_SECONDS = 60.0
"""Making keys may take an HSM long, and probing is many operations."""

Expected = TypeVar(
    "Expected", bound=MasterKeys | Probed | Extracted | Tried | ImportTried | ImportKeys
)


class Administration:
    """One worker with a read-write session. Every method raises OperatorError."""

    def __init__(self, worker: "WorkerProcess[asyncio.Future[Answers]]") -> None:
        self._worker = worker
        worker.on_answers = _resolve

    async def master_keys(self) -> list[MasterKeyRecord]:
        """Return every version: first the keys that wrap, then those of host signing."""
        return (await self.list_master_keys()).keys

    async def list_master_keys(self) -> MasterKeys:
        """Return every version, and the keys under our labels that are not ours."""
        return await self._do(ListMasterKeys(), MasterKeys)

    async def make_master_key(
        self, rewrappable: bool, extractable: bool, above: int = 0
    ) -> MasterKeys:
        """Generate the next version, and at least ``above`` + 1.

        Return all versions, and what the token refused of the new one.
        """
        operation = MakeMasterKey(rewrappable=rewrappable, extractable=extractable, above=above)
        return await self._do(operation, MasterKeys)

    async def probe(self) -> Probed:
        """Return the token's capabilities, and the reason for each that is missing."""
        return await self._do(Probe(), Probed)

    async def try_import(self, capabilities: list[Capability]) -> ImportTried:
        """Return how keys of each algorithm can be imported. Nothing is stored."""
        return await self._do(TryImport(capabilities=capabilities), ImportTried)

    async def import_keys(
        self, owner: str, remove: Sequence[UUID] | None = None, *, others: bool = False
    ) -> list[UUID]:
        """Return the owner's imports that have a key on the token, after ``remove`` are gone.

        With ``others`` those of all other owners.
        """
        operation: Operation = ListImportKeys(owner=owner, others=others)
        if remove is not None:
            operation = RemoveImportKeys(owner=owner, others=others, import_ids=list(remove))
        return (await self._do(operation, ImportKeys)).import_ids

    async def extract(self, attempt: str) -> Extracted:
        """Really try one extraction (custody.pkcs11.extraction)."""
        return await self._do(Extract(attempt=attempt), Extracted)

    async def try_part(self, part: TrialPart) -> list[TriedStep]:
        """Try one part of what a driver needs (custody.pkcs11.trial)."""
        return (await self._do(TryToken(part=part), Tried)).steps

    async def rewrappable(self) -> dict[str, bool | None]:
        """Return whether each master key that wraps lets its keys out to the next one, by name.

        Really tried, with a key of the trial. None, or no answer: it could not be tried.
        """
        try:
            steps = await self.try_part(TrialPart.REWRAP)
        except OperatorError:
            return {}  # the keys themselves must be shown
        known = {Outcome.WORKS: True, Outcome.REFUSED: False}
        return {step.name.removeprefix(REWRAP_STEP): known.get(step.outcome) for step in steps}

    async def _do(self, operation: Operation, expected: type[Expected]) -> Expected:
        answered: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        if not self._worker.gone.is_set():
            self._worker.send(answered, [operation])
        ended = asyncio.create_task(self._worker.ended())
        ended.add_done_callback(lambda _: answered.cancel())
        try:
            message = await answered
        except asyncio.CancelledError:
            if not ended.done():
                raise
            raise OperatorError(
                f"the worker process of the HSM {ended.result()}",
                "See what the vendor's library printed, and whether the HSM is reachable.",
            ) from None
        finally:
            ended.cancel()
        answer = message.answers[0]
        if isinstance(answer, Failure | Lost):
            raise OperatorError(answer.reason, _todo(message))
        if not isinstance(answer, expected):
            raise TypeError(f"the worker answered with {answer.kind!r}")
        return answer


def _resolve(answered: asyncio.Future[Answers], answers: Answers) -> None:
    if not answered.done():
        answered.set_result(answers)


def _todo(message: Answers) -> str:
    if not message.faults:
        return "Run the doctor command."
    last = message.faults[-1]
    return ending(last.step, last.code).facts.operator


@asynccontextmanager
async def administration(
    settings: HsmSettings, known: Sequence[KnownKey] = ()
) -> AsyncIterator[Administration]:
    """Log in. ``known``: the keys that the database knows, if it can be asked.

    Raises HsmCannotStart, PinRefused or ConfigurationError, all OperatorError.
    """
    worker: WorkerProcess[asyncio.Future[Answers]] = WorkerProcess(
        max(DEADLINE_SECONDS, settings.deadline_seconds)
    )
    await launch(settings, worker, "administration", keys=known)
    try:
        yield Administration(worker)
    finally:
        await worker.stop()
