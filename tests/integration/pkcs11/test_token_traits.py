"""Settings for what differs between tokens, each against a token that differs in this way."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from custody.pkcs11.administration import administration
from custody.pkcs11.doctor import hsm_checks
from custody.pkcs11.errors import KeyUnusable
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.messages import Obstacle
from custody.pkcs11.profiles import profiles
from custody.pkcs11.settings import HsmSettings, NoPin
from custody.pkcs11.token_section import token_traits
from custody.pkcs11.token_traits import LOST_WITHOUT, Hardening, Login, TokenTraits
from custody.runtime.checks import Check, Status
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, HSM_ALGORITHMS
from hsm_driver.settings import HsmSection
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import make_master_key, opened, settings_for
from tests.integration.pkcs11.outside import LABEL
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.faulty_module import SLOT, FaultyModule, When
from tests.providers.return_codes import CKR
from tests.providers.tokens import KRYOPTIC, SOFTHSM

AES_KEY_WRAP_PAD = 0x210A
OTHER = ("AES_KEY_WRAP",)
"""Not the mechanism that the master keys of these tests allow."""
LUNA_KWP = 0x80000171
WRAP_WITH_TRUSTED = 0x210
"""CKA_WRAP_WITH_TRUSTED."""
NOT_TRUSTED = {SOFTHSM: "CKR_KEY_NOT_WRAPPABLE", KRYOPTIC: "CKR_WRAPPING_KEY_HANDLE_INVALID"}
"""What a token answers to a key without CKA_TRUSTED that shall wrap a key with the attribute."""


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


async def test_doctor_says_what_the_workers_do(faulty: FaultyModule, faulty_settings: HsmSettings):
    few = replace(faulty_settings, workers=7, keepalive_seconds=45, start_seconds=8)
    few = replace(few, deadline_seconds=8)
    assert (await doctor_says(few, "workers")).detail.startswith("7,")
    assert "idle for 45 s" in (await doctor_says(few, "keepalive_seconds")).detail
    check = await doctor_says(few, "start_seconds")
    assert check.status is Status.OK
    assert "has 8 s to start" in check.detail
    faulty.delays("C_Login", 4.1)
    check = await doctor_says(few, "start_seconds")
    assert check.status is Status.WARN
    assert "Raise start_seconds" in (check.todo or "")


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


async def test_doctor_fails_where_the_master_key_does_not_allow_the_mechanism(
    settings: HsmSettings,
):
    changed = with_traits(replace(settings, host_signing=frozenset()), wrap_mechanisms=OTHER)
    checks = {check.name: check async for check in hsm_checks(changed)}
    check = checks[str(ECDSA_SECP256K1)]
    assert check.status is Status.FAIL
    assert "the newest master key does not allow AES_KEY_WRAP," in check.detail
    assert "master-key generate" in (check.todo or "")
    # the PIN holder is not bound by the setting for new keys: each attempt was really made
    tried = [each.detail for name, each in checks.items() if name.startswith("try: ")]
    assert tried
    assert not [detail for detail in tried if "to try it on" in detail]
    await make_master_key(changed)
    checks = {check.name: check async for check in hsm_checks(changed)}
    assert checks[str(ECDSA_SECP256K1)].status is Status.OK


async def test_attempts_that_could_not_be_made_are_not_ok(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.returns("C_WrapKey", CKR.KEY_NOT_WRAPPABLE)
    checks = {check.name: check async for check in hsm_checks(faulty_settings)}
    check = checks["try: unwrap-readable"]
    assert check.status is Status.WARN
    assert check.detail.startswith("not tried on custody/1: ")


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


@pytest.mark.parametrize(("appended", "size"), [(False, 12), (True, 12), (True, 16)])
async def test_a_token_that_chooses_the_iv_is_told_apart(
    faulty: FaultyModule, faulty_settings: HsmSettings, appended: bool, size: int
):
    faulty.replaces_gcm_iv(appended=appended, size=size)
    with pytest.raises(HsmCannotStart, match='Set gcm_iv = "token"'):
        async with opened(faulty_settings):
            pass
    assert (await doctor_says(faulty_settings, "gcm_iv")).status is Status.FAIL
    by_token = with_traits(faulty_settings, gcm_iv="token")
    assert (await doctor_says(by_token, "gcm_iv")).status is Status.OK
    async with opened(by_token) as hsm:
        key = await hsm.generate(EDDSA_ED25519)
        assert not key.wrapped.startswith(bytes(12)) or size == 16
        verified(key, digest(1), await hsm.sign(key, digest(1)))
    faulty.clear()
    async with opened(faulty_settings) as hsm:
        verified(key, digest(2), await hsm.sign(key, digest(2)))


async def test_nothing_is_encrypted_under_an_iv_of_zeros(settings: HsmSettings):
    """A token that takes the driver's IV takes the placeholder too."""
    with pytest.raises(HsmCannotStart, match="the token chooses no IV"):
        async with opened(with_traits(settings, gcm_iv="token")):
            pass


async def test_a_check_value_is_not_computed_under_another_iv(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with administration(faulty_settings) as token:
        names = {key.name: key.check_value for key in await token.master_keys()}
        faulty.replaces_gcm_iv(appended=False)
        for _ in range(2):
            listed = {key.name: key.check_value for key in await token.master_keys()}
            assert listed == {**names, "custody-host/1": None}


async def test_a_pin_that_is_entered_at_the_token_is_none_of_ours(
    tokens: TokenFolder, faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.enters_pin(tokens.pin_file(LABEL).read_text(), at="C_Login")
    keypad = with_traits(
        replace(faulty_settings, pin=NoPin("protected-path")), login="protected-path"
    )
    tokens.pin_file(LABEL).unlink()
    async with opened(keypad) as hsm:
        await hsm.generate(ECDSA_SECP256K1)
    assert len(faulty.calls("C_Login")) == 1
    faulty.clear()
    refused = faulty.returns("C_Login", CKR.PIN_INCORRECT)
    for _ in range(2):
        with pytest.raises(OperatorError, match="refuse"):
            async with opened(keypad):
                pass
    assert faulty.fired(refused) == 1


async def test_a_token_without_a_login_gets_none(
    tokens: TokenFolder, faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.enters_pin(tokens.pin_file(LABEL).read_text(), at="C_OpenSession")
    free = with_traits(replace(faulty_settings, pin=NoPin("none")), login="none")
    async with opened(free) as hsm:
        await hsm.generate(ECDSA_SECP256K1)
    assert not faulty.calls("C_Login")


async def refusal_of_start(settings: HsmSettings) -> str:
    with pytest.raises(OperatorError) as caught:
        async with opened(settings):
            pass
    return caught.value.todo


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("none", 'asks for a login, and login = "none" makes none'),
        ("protected-path", 'CKR_ARGUMENTS_BAD, with login = "protected-path"'),
    ],
)
async def test_a_login_that_the_token_does_not_take_is_named(
    settings: HsmSettings, login: Login, said: str
):
    wrong = with_traits(replace(settings, pin=NoPin(login)), login=login)
    found = [check async for check in hsm_checks(wrong)]
    assert [check.name for check in found] == ["module", "token", "login"]
    assert found[-1].status is Status.FAIL
    assert said in found[-1].detail
    assert "write the PIN file" not in (found[-1].todo or "")
    for todo in (found[-1].todo, await refusal_of_start(wrong)):
        assert "take login out of the configuration" in (todo or "").lower()


@pytest.mark.parametrize("without", LOST_WITHOUT)
async def test_a_master_key_is_made_without_what_the_token_does_not_take(
    empty_token: TokenFolder, tmp_path: Path, without: Hardening
):
    """The key gets every attribute but the named one, and the command names what it left out."""
    settings = with_traits(
        settings_for(empty_token, tmp_path / "state"), master_key_without=(without,)
    )
    async with administration(settings) as token:
        made = await token.make_master_key(rewrappable=False, extractable=False)
    versions = ["custody/1", "custody-host/1"]
    if without == "UNWRAP_TEMPLATE":
        versions.remove("custody-host/1")
    assert made.left_out == [f"{each}: {without} (master_key_without)" for each in versions]
    assert [key.modifiable for key in made.keys] == [without == "MODIFIABLE"] * 2
    assert [key.copyable for key in made.keys] == [without == "COPYABLE"] * 2
    check = await doctor_says(settings, "master_key_without")
    assert check.status is Status.WARN
    assert LOST_WITHOUT[without] in check.detail
    async with opened(settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        verified(key, digest(1), await hsm.sign(key, digest(1)))


async def test_unwrapped_keys_wrap_with_trusted_keys_alone_where_the_token_has_it(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    trusted = with_traits(faulty_settings, wrap_with_trusted=True)
    given = faulty.delays("C_UnwrapKey", 0, When(attribute=WRAP_WITH_TRUSTED))
    async with opened(faulty_settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        await hsm.sign(key, digest(1))
        assert faulty.fired(given) == 0
    async with opened(trusted) as hsm:
        verified(key, digest(2), await hsm.sign(key, digest(2)))
        assert faulty.fired(given) > 0
    assert (await doctor_says(trusted, "wrap_with_trusted")).status is Status.OK
    faulty.returns("C_UnwrapKey", CKR.ATTRIBUTE_TYPE_INVALID, When(attribute=WRAP_WITH_TRUSTED))
    async with opened(trusted) as hsm:
        verified(key, digest(3), await hsm.sign(key, digest(3)))
    assert (await doctor_says(trusted, "wrap_with_trusted")).status is Status.FAIL


@pytest.mark.each_provider
async def test_doctor_says_what_wrap_with_trusted_does_to_a_key_that_is_wrapped(
    provider: str, faulty: FaultyModule, faulty_settings: HsmSettings
):
    """First the token's own answer. Then that of a token that refuses the attribute."""
    trusted = with_traits(faulty_settings, wrap_with_trusted=True)
    given = faulty.delays("C_GenerateKeyPair", 0, When(attribute=WRAP_WITH_TRUSTED))
    check = await doctor_says(trusted, "wrap_with_trusted")
    assert check.status is Status.OK
    assert check.detail.endswith(f"because the token then answers {NOT_TRUSTED[provider]}")
    assert faulty.fired(given) == 1
    faulty.returns(
        "C_GenerateKeyPair", CKR.ATTRIBUTE_TYPE_INVALID, When(attribute=WRAP_WITH_TRUSTED)
    )
    check = await doctor_says(trusted, "wrap_with_trusted")
    assert check.detail.endswith("because the token then answers CKR_ATTRIBUTE_TYPE_INVALID")
    async with opened(trusted) as hsm:
        key = await hsm.generate(ECDSA_SECP256R1)
        verified(key, digest(1), await hsm.sign(key, digest(1)))


async def test_the_settings_of_the_tested_profile_work(settings: HsmSettings):
    given = tomllib.loads("\n".join(profiles()["softhsm"].settings))
    section = HsmSection.model_validate(
        {"module": "/m.so", "token_label": "t", "pin_file": "/pin", **given},
        context={"folder": Path("/")},
    )
    tested = replace(settings, traits=token_traits(section))
    checks = [check async for check in hsm_checks(tested)]
    assert not [
        each for each in checks if each.name.startswith("token: ") and each.status is not Status.OK
    ]
    async with opened(tested) as hsm:
        for algorithm in HSM_ALGORITHMS:
            key = await hsm.generate(algorithm)
            verified(key, digest(1), await hsm.sign(key, digest(1)))
