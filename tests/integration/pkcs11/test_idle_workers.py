"""What a daemon notices about its HSM while nobody asks for a signature."""

import pytest

from custody.pkcs11.settings import HsmSettings
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.test_workers import until, until_ready
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR

OFTEN = 0.2


async def test_an_idle_worker_asks_its_hsm_and_stays(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings, keepalive_seconds=OFTEN) as hsm:
        [worker] = hsm.worker_process_ids
        asked = len(faulty.calls("C_GenerateRandom"))
        await until(lambda: len(faulty.calls("C_GenerateRandom")) >= asked + 3)
        assert hsm.worker_process_ids == [worker]
        # a token without a random number generator has the master keys' attributes
        faulty.returns("C_GenerateRandom", CKR.RANDOM_NO_RNG)
        asked = len(faulty.calls("C_GetAttributeValue"))
        await until(lambda: len(faulty.calls("C_GetAttributeValue")) >= asked + 3)
        assert hsm.worker_process_ids == [worker]


@pytest.mark.each_provider
@pytest.mark.parametrize("hangs", [False, True])
async def test_an_hsm_that_goes_while_idle_is_noticed(
    faulty: FaultyModule, faulty_settings: HsmSettings, hangs: bool
):
    deadline = 1.0 if hangs else 10.0
    async with opened(faulty_settings, keepalive_seconds=OFTEN, deadline_seconds=deadline) as hsm:
        assert hsm.problem is None
        if hangs:
            faulty.hangs("C_GenerateRandom")
        else:
            faulty.returns("*", CKR.DEVICE_REMOVED)
        words = "passed its deadline" if hangs else "CKR_DEVICE_REMOVED"
        await until(lambda: words in str(hsm.problem))
        faulty.clear()
        await until_ready(hsm, 1)
        await hsm.generate(ECDSA_SECP256R1)


async def test_fewer_workers_than_configured_are_told_with_the_reason(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    limit = When(since=2, all_processes=True)
    faulty.returns("C_OpenSession", CKR.SESSION_COUNT, limit)
    async with opened(faulty_settings, workers=2) as hsm:
        await until(lambda: hsm.shortage is not None)
        assert str(hsm.shortage).startswith("1 of 2 workers: ")
        assert "CKR_SESSION_COUNT" in str(hsm.shortage)
        assert hsm.problem is None
        await hsm.generate(ECDSA_SECP256K1)
        faulty.clear()
        await until(lambda: hsm.shortage is None)
        assert hsm.workers == 2
