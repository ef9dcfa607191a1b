"""A worker, logged in: the PIN tried as often as is safe, and every obstacle in words."""

from collections.abc import Sequence
from typing import Any, Literal

import structlog

from custody.pkcs11.messages import Hello, KnownKey, Obstacle, PinStanding, Ready
from custody.pkcs11.pin import PinMemory, Verdict, login_turn
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.worker_process import SlotHung, StartRefused, WorkerGone, WorkerProcess
from custody.runtime.errors import OperatorError

log = structlog.get_logger()


class HsmCannotStart(OperatorError):
    """A worker cannot work; ``obstacle`` says where it came to an end, None when it crashed."""

    def __init__(self, what: str, todo: str, obstacle: Obstacle | None) -> None:
        super().__init__(what, todo)
        self.obstacle = obstacle


async def launch(
    settings: HsmSettings,
    worker: WorkerProcess[Any],
    purpose: Literal["operations", "administration"] = "operations",
    known: Ready | None = None,
    keys: Sequence[KnownKey] = (),
    *,
    accept_new: bool = True,
) -> Ready:
    """Start a worker. ``known``: what this token's first worker found, and others must find again.

    Without ``known`` this is the first worker, which judges the keys and probes the capabilities.
    ``keys`` and ``accept_new``: as in Hello, for the first worker.

    Raises HsmCannotStart, PinRefused or ConfigurationError, all of them OperatorError.
    """
    PinMemory(settings).standing()  # a PIN that was refused need not wait for its turn
    async with login_turn(settings):
        memory = PinMemory(settings)
        return await _try_once(settings, worker, purpose, known, memory, keys, accept_new)


async def _try_once(
    settings: HsmSettings,
    worker: WorkerProcess[Any],
    purpose: Literal["operations", "administration"],
    known: Ready | None,
    memory: PinMemory,
    keys: Sequence[KnownKey],
    accept_new: bool,
) -> Ready:
    standing = memory.standing()
    hello = Hello(
        module=str(settings.module),
        token_label=settings.token_label,
        pin=memory.read(),
        pin_standing=standing,
        master_key_label=settings.master_key_label,
        host_signing=sorted(settings.host_signing),
        purpose=purpose,
        known=list(keys) if known is None else found_before(known),
        accept_new=accept_new and known is None,
        check_values=None if known is None else known.check_values,
        capabilities=None if known is None else known.capabilities or None,
        judge=known is None,
        start_seconds=_start_seconds(settings),
        restored=list(settings.restored),
        weaker=list(settings.weaker),
        accept_weaker=settings.accept_weaker,
        only_encrypting=settings.only_encrypting,
        traits=settings.traits,
        cached_keys=settings.cached_keys,
        cached_keys_seconds=settings.cached_keys_seconds,
        slot=None if known is None else known.slot,
        hung_slots=[] if known is None else known.hung_slots,
    )
    if standing is not PinStanding.PROVEN:
        memory.remember(Verdict.TRYING)
    try:
        ready = await _start(settings, worker, hello)
    except StartRefused as refused:
        failure = refused.failure
        _learn(memory, standing, failure.obstacle)
        raise HsmCannotStart(failure.what, failure.todo, failure.obstacle) from None
    except WorkerGone as gone:
        raise HsmCannotStart(
            f"the worker process of the HSM {gone}",
            f"See what the library {settings.module} printed, and whether the HSM is reachable.",
            None,
        ) from None
    memory.remember(Verdict.ACCEPTED)
    return ready


async def _start(settings: HsmSettings, worker: WorkerProcess[Any], hello: Hello) -> Ready:
    """Start a worker, without the slots that do not answer. Raises StartRefused or WorkerGone.

    A worker that waits for a slot has not tried the PIN yet, so it can be started again.
    """
    while True:
        try:
            return await worker.start(hello, hello.start_seconds, settings.deadline_seconds)
        except SlotHung as gone:
            if gone.slot in hello.hung_slots:
                raise
            log.warning("a slot of the HSM's module does not answer", slot=gone.slot)
            hello = hello.model_copy(update={"hung_slots": [*hello.hung_slots, gone.slot]})


def _start_seconds(settings: HsmSettings) -> float:
    return max(settings.start_seconds, settings.deadline_seconds)


def found_before(ready: Ready) -> list[KnownKey]:
    """Return the keys that a worker proved, each with the proof that it opened."""
    return [
        KnownKey(
            name=name,
            check_value=check_value,
            proofs=[ready.proofs[name]] if name in ready.proofs else [],
        )
        for name, check_value in ready.check_values.items()
    ]


def _learn(memory: PinMemory, standing: PinStanding, obstacle: Obstacle) -> None:
    """Return what an answer other than success says about the PIN."""
    if obstacle is Obstacle.PIN:
        memory.remember(Verdict.REFUSED)
    elif obstacle is Obstacle.LOGIN_STOPPED:
        memory.remember(Verdict.STOPPED)
    elif obstacle is Obstacle.MASTER_KEY:
        memory.remember(Verdict.ACCEPTED)
    elif standing is PinStanding.NEW and obstacle is not Obstacle.LOGIN_UNJUDGED:
        memory.forget()  # it was not tried, or not counted as wrong
