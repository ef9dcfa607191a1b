"""A module has other slots than our token's, and these may be broken."""

from collections.abc import Callable

import pytest

from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.settings import HsmSettings
from custody.wire.algorithms import ECDSA_SECP256K1
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.test_workers import kill, until_ready
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR

# SoftHSM lists the slot of the token first, and then an empty one for a new token.
OTHER_SLOT = When(at=2, all_processes=True)


def token_info_fails(faulty: FaultyModule) -> None:
    faulty.returns("C_GetTokenInfo", CKR.DEVICE_ERROR, OTHER_SLOT)


def token_info_hangs(faulty: FaultyModule) -> None:
    faulty.hangs("C_GetTokenInfo", OTHER_SLOT)


def slot_info_fails(faulty: FaultyModule) -> None:
    faulty.returns("C_GetSlotInfo", CKR.GENERAL_ERROR, OTHER_SLOT)


@pytest.mark.parametrize("fault", [token_info_fails, token_info_hangs, slot_info_fails])
async def test_the_token_is_found_beside_a_broken_slot(
    faulty: FaultyModule, faulty_settings: HsmSettings, fault: Callable[[FaultyModule], None]
):
    fault(faulty)
    async with opened(faulty_settings, deadline_seconds=2.0) as hsm:
        await hsm.generate(ECDSA_SECP256K1)
        assert len(faulty.calls("C_GetSlotInfo")) == 1
        faulty.clear()
        asked = len(faulty.calls("C_GetTokenInfo"))
        await kill(hsm, hsm.worker_process_ids[0])
        await until_ready(hsm, 1)
        # the search, and python-pkcs11, ask the slot where the token was, and no other
        assert len(faulty.calls("C_GetTokenInfo")) == asked + 2


async def test_a_token_that_is_not_found_may_be_in_a_slot_that_failed(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.returns("C_GetTokenInfo", CKR.DEVICE_ERROR)
    with pytest.raises(HsmCannotStart, match=r"slot \d+ answered CKR_DEVICE_ERROR"):
        async with opened(faulty_settings):
            pass
    assert not faulty.calls("C_Login")


async def test_a_slot_of_our_token_that_hangs_is_named(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.hangs("C_GetTokenInfo", When(at=1, all_processes=True))
    with pytest.raises(HsmCannotStart, match=r"slot \d+ did not answer"):
        async with opened(faulty_settings, deadline_seconds=1.0):
            pass
    assert not faulty.calls("C_Login")
