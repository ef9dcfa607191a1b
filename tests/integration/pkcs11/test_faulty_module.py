"""The faulty module itself: it does what a test commands, and nothing else."""

import pytest

from custody.pkcs11.errors import HsmCrashed, HsmFailure, HsmTimeout
from custody.pkcs11.settings import HsmSettings
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.outside import LABEL
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR


@pytest.mark.each_provider
async def test_returns_hangs_and_crashes_as_the_rules_say_while_a_worker_runs(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings, deadline_seconds=1.0) as hsm:
        key = await hsm.generate(ECDSA_SECP256R1)
        verified(key, digest(1), await hsm.sign(key, digest(1)))
        assert {call.outcome for call in faulty.calls("C_Sign")} == {CKR.OK}

        second = faulty.returns("C_Sign", CKR.TOKEN_RESOURCE_EXCEEDED, When(at=2))
        verified(key, digest(2), await hsm.sign(key, digest(2)))
        with pytest.raises(HsmFailure):
            await hsm.sign(key, digest(3))
        assert faulty.fired(second) == 1
        assert faulty.calls("C_Sign")[-1].outcome == CKR.TOKEN_RESOURCE_EXCEEDED
        verified(key, digest(4), await hsm.sign(key, digest(4)))

        faulty.clear()
        crash = faulty.crashes("C_Sign", When(data=digest(5)))
        with pytest.raises(HsmCrashed):
            await hsm.sign(key, digest(5))
        assert faulty.fired(crash) == 2

        hang = faulty.hangs("C_Sign", When(data=digest(6)))
        with pytest.raises(HsmTimeout):
            await hsm.sign(key, digest(6))
        assert faulty.fired(hang)
        verified(key, digest(7), await hsm.sign(key, digest(7)))


async def test_the_log_has_no_pin_and_no_data(
    faulty: FaultyModule, faulty_settings: HsmSettings, tokens: TokenFolder
):
    async with opened(faulty_settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        await hsm.sign(key, digest(1))
    log = (faulty.folder / "log").read_text()
    assert "C_Login" in log
    assert tokens.pin_file(LABEL).read_text() not in log
    assert all(len(line.split(" ")) == 4 for line in log.splitlines())
