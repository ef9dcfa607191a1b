"""Workers that crash, hang, lose their session: nobody else loses anything."""

import asyncio
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from custody.pkcs11.errors import HsmCrashed, HsmFailure, HsmTimeout, HsmUnavailable, TooLate
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.work_queue import MAX_BATCH
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.outside import LABEL, objects
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.tokens import Tokens

POISON = b"\xde" * 32
"""Signing this aborts the process, as a vendor's library does."""
STALL = b"\xad" * 32
"""Signing this never ends."""
SOON = 15.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)


async def until_ready(hsm: Hsm, workers: int) -> None:
    await until(lambda: hsm.workers >= workers and hsm.problem is None)


async def kill(hsm: Hsm, process_id: int) -> None:
    os.kill(process_id, signal.SIGKILL)
    await until(lambda: process_id not in hsm.worker_process_ids)


@pytest.mark.each_provider
async def test_workers_killed_under_load_cost_no_signature(hsm: Hsm):
    await until_ready(hsm, 2)
    key = await hsm.generate(ECDSA_SECP256R1)
    done = asyncio.Event()

    async def killer() -> int:
        killed = 0
        while not done.is_set():
            # Who loses its worker twice while it runs alone is blamed for that: one at a time.
            await until_ready(hsm, 2)
            await kill(hsm, hsm.worker_process_ids[killed % 2])
            killed += 1
        return killed

    killing = asyncio.create_task(killer())
    signed = await asyncio.gather(*(hsm.sign(key, digest(number)) for number in range(2000)))
    done.set()
    assert await killing >= 2
    for number, raw in enumerate(signed):
        verified(key, digest(number), raw)


async def test_an_idle_worker_that_dies_is_replaced(hsm: Hsm):
    await until_ready(hsm, 2)
    before = set(hsm.worker_process_ids)
    for process_id in before:
        os.kill(process_id, signal.SIGKILL)
    await until(lambda: hsm.workers == 2 and not before & set(hsm.worker_process_ids))
    key = await hsm.generate(ECDSA_SECP256K1)
    verified(key, digest(0), await hsm.sign(key, digest(0)))


async def test_the_operation_that_crashes_its_worker_is_found_and_fails_alone(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.crashes("C_Sign", When(data=POISON))
    async with opened(faulty_settings) as hsm:
        keys = [await hsm.generate(ECDSA_SECP256K1) for _ in range(8)]
        data = [digest(number) for number in range(8)]
        data[3] = POISON
        outcomes = await asyncio.gather(
            *(hsm.sign(key, item) for key, item in zip(keys, data, strict=True)),
            return_exceptions=True,
        )
        for index, outcome in enumerate(outcomes):
            if index == 3:
                assert isinstance(outcome, HsmCrashed)
                assert not outcome.transient
            else:
                assert isinstance(outcome, bytes)
                verified(keys[index], data[index], outcome)


async def test_a_hung_operation_passes_its_deadline_and_the_others_are_done(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.hangs("C_Sign", When(data=STALL))
    async with opened(faulty_settings, deadline_seconds=1.0) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        stalled = hsm.worker_process_ids
        outcomes = await asyncio.gather(
            hsm.sign(key, digest(1)),
            hsm.sign(key, STALL),
            hsm.sign(key, digest(2)),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], bytes)
        assert isinstance(outcomes[1], HsmTimeout)
        assert outcomes[1].transient
        assert isinstance(outcomes[2], bytes)
        for process_id in stalled:
            with pytest.raises(ProcessLookupError):
                os.kill(process_id, 0)


async def test_a_worker_that_is_stopped_from_outside_is_killed_and_replaced(settings: HsmSettings):
    async with opened(settings, workers=2, deadline_seconds=1.0) as hsm:
        await until_ready(hsm, 2)
        key = await hsm.generate(ECDSA_SECP256K1)
        stopped = hsm.worker_process_ids[0]
        os.kill(stopped, signal.SIGSTOP)
        outcomes = await asyncio.gather(
            *(hsm.sign(key, digest(number)) for number in range(40)), return_exceptions=True
        )
        assert all(isinstance(outcome, bytes) for outcome in outcomes)
        await until(lambda: hsm.workers == 2 and stopped not in hsm.worker_process_ids)


async def test_a_token_that_disappears_makes_the_hsm_unavailable_until_it_is_back(
    settings: HsmSettings, tokens: TokenFolder, tmp_path: Path
):
    async with opened(settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        shutil.move(tokens.folder / "tokens", tmp_path / "away")
        (tokens.folder / "tokens").mkdir()

        async def fails() -> HsmFailure:
            while True:
                try:
                    await hsm.sign(key, digest(1))
                except HsmUnavailable as failure:
                    if LABEL in str(hsm.problem):
                        return failure
                await asyncio.sleep(0.05)

        async with asyncio.timeout(SOON):
            failure = await fails()
        assert failure.transient
        (tokens.folder / "tokens").rmdir()
        shutil.move(tmp_path / "away", tokens.folder / "tokens")
        await until_ready(hsm, 1)
        verified(key, digest(1), await hsm.sign(key, digest(1)))


@pytest.mark.each_provider
async def test_no_key_stays_on_the_token(hsm: Hsm, tokens: Tokens):
    keys = await asyncio.gather(*(hsm.generate(ECDSA_SECP256R1) for _ in range(10)))
    await asyncio.gather(*(hsm.sign(key, digest(1)) for key in keys))
    assert objects(tokens) == ["custody", "custody-host"]


async def test_closing_ends_every_worker_and_whoever_waits(settings: HsmSettings):
    hsm = Hsm(settings)
    await hsm.start()
    key = await hsm.generate(ECDSA_SECP256K1)
    process_ids = hsm.worker_process_ids
    waiting = [asyncio.create_task(hsm.sign(key, digest(number))) for number in range(200)]
    await asyncio.sleep(0.01)  # some are done, some wait, wherever closing finds them
    await hsm.close()
    for process_id in process_ids:
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(outcome, HsmUnavailable) for outcome in outcomes)
    with pytest.raises(HsmUnavailable):
        await hsm.sign(key, hashlib.sha256(b"late").digest())
    with suppress(HsmFailure):
        await hsm.close()


async def test_who_stops_waiting_harms_nobody(hsm: Hsm):
    key = await hsm.generate(ECDSA_SECP256K1)
    given_up = [asyncio.create_task(hsm.sign(key, digest(number))) for number in range(50)]
    await asyncio.sleep(0)
    for task in given_up:
        task.cancel()
    verified(key, digest(7), await hsm.sign(key, digest(7)))


async def test_what_waits_behind_a_stalled_hsm_is_not_begun_after_its_time(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    """Neither what waits for a worker, nor what has been sent to the one that stalls."""
    stall = faulty.hangs("C_Sign", When(data=STALL))
    async with opened(faulty_settings, deadline_seconds=2.0) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        over = False

        def require_wanted() -> None:
            if over:
                raise TooLate

        not_after = time.time() + 1
        stalled = asyncio.create_task(hsm.sign(key, STALL))
        await until(lambda: faulty.fired(stall) == 1)
        waiting = [
            asyncio.create_task(hsm.sign(key, digest(number), **limit))
            for number in range(40)
            for limit in ({"not_after": not_after}, {"require_wanted": require_wanted})
        ]
        await asyncio.sleep(1)  # the time of not_after passes
        over = True
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(HsmTimeout):
            await stalled
        # the batch that was sent already is not asked again whether it is wanted, but for its time
        assert all(isinstance(outcome, TooLate) for outcome in outcomes[::2])
        assert sum(isinstance(outcome, bytes) for outcome in outcomes[1::2]) <= MAX_BATCH
