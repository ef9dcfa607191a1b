"""Settings for what differs between tokens, each against a token that differs in this way."""

from dataclasses import replace
from typing import Any

import pytest

from custody.pkcs11.doctor import hsm_checks
from custody.pkcs11.errors import KeyUnusable
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.messages import Obstacle
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_traits import TokenTraits
from custody.runtime.checks import Check, Status
from custody.wire.algorithms import ECDSA_SECP256K1
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import make_master_key, opened
from tests.integration.pkcs11.outside import LABEL
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.faulty_module import SLOT, FaultyModule, When
from tests.providers.return_codes import CKR

AES_KEY_WRAP_PAD = 0x210A
LUNA_KWP = 0x80000171


def with_traits(settings: HsmSettings, **traits: Any) -> HsmSettings:
    return replace(settings, traits=TokenTraits(**traits))


async def doctor_says(settings: HsmSettings, setting: str) -> Check:
    name = f"token: {setting}"
    return next(
        each for each in [check async for check in hsm_checks(settings)] if each.name == name
    )


async def test_doctor_says_what_this_token_does(tokens: TokenFolder, settings: HsmSettings):
    (listed,) = tokens.list()
    assert (await doctor_says(settings, "serial")).detail == listed.serial
    assert (await doctor_says(settings, "sessions")).detail == "read-only"
    check = await doctor_says(settings, "wrap_mechanisms")
    assert check.status is Status.OK
    assert "AES_KEY_WRAP_PAD; AES_KEY_WRAP" in check.detail


async def test_a_vendors_mechanism_wraps_by_its_number(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.renames_mechanism(LUNA_KWP, AES_KEY_WRAP_PAD)
    luna = with_traits(faulty_settings, wrap_mechanisms=("0x80000171",))
    async with opened(luna) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        assert key.mechanism == "0x80000171"
        verified(key, digest(1), await hsm.sign(key, digest(1)))
        assert await hsm.proofs()
    # the key outlives another choice for new keys, as long as the setting names its mechanism
    both = with_traits(faulty_settings, wrap_mechanisms=("AES_KEY_WRAP_PAD", "0x80000171"))
    async with opened(both) as hsm:
        assert (await hsm.generate(ECDSA_SECP256K1)).mechanism == "AES_KEY_WRAP_PAD"
        verified(key, digest(2), await hsm.sign(key, digest(2)))
    async with opened(faulty_settings) as hsm:
        with pytest.raises(KeyUnusable, match="wrap_mechanisms"):
            await hsm.sign(key, digest(3))


async def test_a_new_master_key_wraps_by_a_vendors_mechanism(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.renames_mechanism(LUNA_KWP, AES_KEY_WRAP_PAD)
    luna = with_traits(faulty_settings, wrap_mechanisms=("0x80000171",))
    await make_master_key(luna)
    async with opened(luna) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        assert key.master_key == "custody/2"
        verified(key, digest(1), await hsm.sign(key, digest(1)))


async def test_wrong_wrap_mechanisms_are_one_error_before_any_login(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    wrong = with_traits(faulty_settings, wrap_mechanisms=("0x80000172", "AES_KEY_WRAP_KWP"))
    with pytest.raises(HsmCannotStart) as caught:
        async with opened(wrong):
            pass
    assert caught.value.obstacle is Obstacle.MECHANISM
    assert caught.value.what.endswith(
        "has none of wrap_mechanisms: 0x80000172 (CKR_MECHANISM_INVALID), "
        "AES_KEY_WRAP_KWP (CKR_MECHANISM_INVALID)"
    )
    assert not faulty.calls("C_Login")


async def test_serial_or_slot_tells_tokens_with_one_label_apart(
    tokens: TokenFolder, faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.adds_slot(LABEL)
    with pytest.raises(HsmCannotStart, match="several tokens have the label"):
        async with opened(faulty_settings):
            pass
    (listed,) = tokens.list()
    async with opened(with_traits(faulty_settings, token_serial=listed.serial)) as hsm:
        await hsm.generate(ECDSA_SECP256K1)
    with pytest.raises(HsmCannotStart, match="no token 'custody' with the serial '1'"):
        async with opened(with_traits(faulty_settings, token_serial="1")):
            pass
    asked = len(faulty.calls("C_GetTokenInfo"))
    with pytest.raises(HsmCannotStart, match=r"cannot open a session|SLOT_ID"):
        async with opened(with_traits(faulty_settings, slot=SLOT)):
            pass
    assert len(faulty.calls("C_GetTokenInfo")) <= asked + 2  # the search, and python-pkcs11


async def test_a_token_without_read_only_sessions_gets_read_write_ones(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.returns("C_OpenSession", CKR.SESSION_READ_WRITE_SO_EXISTS, When(read_only=True))
    with pytest.raises(HsmCannotStart, match=r"CKR_SESSION_READ_WRITE_SO_EXISTS"):
        async with opened(faulty_settings):
            pass
    check = await doctor_says(faulty_settings, "sessions")
    assert check.status is Status.FAIL
    assert 'Set sessions = "read-write"' in check.detail
    read_write = with_traits(faulty_settings, sessions="read-write")
    async with opened(read_write) as hsm:
        await hsm.generate(ECDSA_SECP256K1)
    assert (await doctor_says(read_write, "sessions")).status is Status.OK
