"""What the daemon does about the endings: requests, workers, logins, health."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from pkcs11 import Attribute, Mechanism

from custody.pkcs11.administration import administration
from custody.pkcs11.errors import HsmFailure, HsmMisconfigured, HsmUnavailable, KeyUnusable
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.metrics import HSM_LEAKED_OBJECTS
from custody.pkcs11.pin import PinRefused
from custody.pkcs11.settings import HsmSettings
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Protection
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.outside import LABEL
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.integration.pkcs11.test_workers import until
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR, VENDOR_CODE

FIRST = When(at=1, all_processes=True)


async def start(settings: HsmSettings) -> None:
    async with opened(settings):
        pass


async def replaced(hsm: Hsm, operation: Awaitable[Any]) -> Any:
    """Return the operation's result; the worker that did it first is gone then."""
    before = hsm.worker_process_ids
    result = await operation
    await until(lambda: hsm.workers == 1 and hsm.worker_process_ids != before)
    return result


async def test_a_passing_error_costs_no_request_and_replaces_the_worker(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    """At generate, wrap and sign in another worker, at unwrap by a second try."""
    async with opened(faulty_settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        for function, code in (
            ("C_GenerateKeyPair", CKR.CRYPTOKI_NOT_INITIALIZED),
            ("C_WrapKey", VENDOR_CODE),
        ):
            faulty.returns(function, code, FIRST)
            key = await replaced(hsm, hsm.generate(ECDSA_SECP256K1))
        for function, code in (
            ("C_Sign", CKR.OPERATION_NOT_INITIALIZED),
            ("C_UnwrapKey", CKR.FUNCTION_FAILED),
            ("C_DestroyObject", CKR.GENERAL_ERROR),
        ):
            leaked = HSM_LEAKED_OBJECTS._value.get()
            faulty.returns(function, code, FIRST)
            signature = await replaced(hsm, hsm.sign(key, digest(1)))
            verified(key, digest(1), signature)
            expected = 1 if function == "C_DestroyObject" else 0
            assert HSM_LEAKED_OBJECTS._value.get() - leaked == expected


async def test_an_hsm_that_is_back_does_its_work_again(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings) as hsm:
        broken = faulty.returns("C_GenerateKeyPair", CKR.GENERAL_ERROR)
        with pytest.raises(HsmUnavailable):
            await hsm.generate(ECDSA_SECP256K1)
        faulty.remove(broken)
        key = await hsm.generate(ECDSA_SECP256K1)
        verified(key, digest(1), await hsm.sign(key, digest(1)))


async def test_a_key_is_unusable_only_while_other_keys_unwrap(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        damaged = replace(key, wrapped=bytes(len(key.wrapped)))
        with pytest.raises(KeyUnusable):
            await hsm.sign(damaged, digest(1))
        broken = faulty.returns("C_UnwrapKey", CKR.WRAPPED_KEY_INVALID)
        with pytest.raises(HsmFailure) as failed:
            await hsm.sign(key, digest(1))
        assert failed.value.transient
        faulty.remove(broken)
        verified(key, digest(1), await hsm.sign(key, digest(1)))


@pytest.mark.parametrize(
    ("code", "when", "named"),
    [
        (CKR.ATTRIBUTE_TYPE_INVALID, When(attribute=Attribute.COPYABLE), "CKA_COPYABLE"),
        (CKR.TEMPLATE_INCONSISTENT, When(attribute=Attribute.DERIVE), "CKA_DERIVE"),
        (
            CKR.MECHANISM_INVALID,
            When(mechanism=Mechanism.AES_KEY_WRAP_PAD),
            "CKM_AES_KEY_WRAP_PAD",
        ),
    ],
)
async def test_a_refused_attribute_or_mechanism_is_named_and_the_request_comes_again(
    faulty: FaultyModule, faulty_settings: HsmSettings, code: CKR, when: When, named: str
):
    async with opened(faulty_settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        rule = faulty.returns("C_UnwrapKey", code, when)
        with pytest.raises(HsmMisconfigured) as failed:
            await hsm.sign(key, digest(1))
        assert failed.value.transient
        assert named in failed.value.reason
        faulty.remove(rule)
        verified(key, digest(1), await hsm.sign(key, digest(1)))


@pytest.mark.parametrize("code", [CKR.PIN_LOCKED, VENDOR_CODE, CKR.FUNCTION_FAILED])
@pytest.mark.parametrize("proven", [False, True])
async def test_a_login_that_may_have_counted_is_tried_once_in_many_starts(
    faulty: FaultyModule,
    faulty_settings: HsmSettings,
    tokens: TokenFolder,
    code: int,
    proven: bool,
):
    if proven:
        await start(faulty_settings)
    before = len(faulty.calls("C_Login"))
    rule = faulty.returns("C_Login", code)
    with pytest.raises(HsmCannotStart):
        await start(faulty_settings)
    for _ in range(4):
        with pytest.raises(PinRefused) as refused:
            await start(faulty_settings)
    assert "--retry-pin" in refused.value.todo
    assert len(faulty.calls("C_Login")) == before + 1
    faulty.remove(rule)
    path = tokens.pin_file(LABEL)
    path.write_text(path.read_text())
    await start(faulty_settings)


async def test_a_user_who_is_logged_in_already_is_logged_in(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    faulty.returns("C_Login", CKR.USER_ALREADY_LOGGED_IN, When(after_real=True))
    async with opened(faulty_settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        verified(key, digest(1), await hsm.sign(key, digest(1)))


@pytest.mark.parametrize(
    "function", ["C_GenerateKeyPair", "C_WrapKey", "C_UnwrapKey", "C_SignInit"]
)
async def test_one_error_while_probing_does_not_decide(
    faulty: FaultyModule, faulty_settings: HsmSettings, function: str
):
    """The configuration allows host signing, and still no algorithm moves to the host."""
    both = frozenset({ECDSA_SECP256K1, EDDSA_ED25519})
    proof = 1 if function == "C_WrapKey" else 0  # the check value is proved first
    pad = Mechanism.AES_KEY_WRAP_PAD if proof else None
    faulty.returns(function, CKR.FUNCTION_FAILED, When(at=1 + proof, mechanism=pad))
    async with opened(faulty_settings, host_signing=both) as hsm:
        assert (await hsm.capabilities())[ECDSA_SECP256K1] is Protection.HSM


async def test_only_an_answer_that_says_so_moves_new_keys_to_the_host(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    allowed = frozenset({ECDSA_SECP256K1})
    rule = faulty.returns("C_GenerateKeyPair", CKR.GENERAL_ERROR)
    async with opened(faulty_settings, host_signing=allowed) as hsm:
        assert ECDSA_SECP256K1 not in await hsm.capabilities()
    faulty.remove(rule)
    faulty.returns("C_GenerateKeyPair", CKR.MECHANISM_INVALID)
    async with opened(faulty_settings, host_signing=allowed) as hsm:
        assert (await hsm.capabilities())[ECDSA_SECP256K1] is Protection.HOST


async def test_one_error_makes_no_weaker_master_key(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    """A passing error must not be taken for the refusal of an attribute."""
    for function in ("C_GenerateKey", "C_UnwrapKey"):
        rule = faulty.returns(function, CKR.FUNCTION_FAILED, When(since=4, all_processes=True))
        with pytest.raises(OperatorError):
            async with administration(faulty_settings) as token:
                await token.make_master_key(rewrappable=False, extractable=False)
        faulty.remove(rule)
    async with administration(faulty_settings) as token:
        made = await token.make_master_key(rewrappable=False, extractable=False)
    assert made.left_out == []


async def test_the_library_that_does_not_initialise_ends_the_worker_with_the_next_step(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings) as hsm:
        broken = faulty.returns("C_Initialize", CKR.GENERAL_ERROR)
        faulty.returns("C_Sign", CKR.DEVICE_REMOVED, FIRST)
        key = await hsm.generate(ECDSA_SECP256K1)
        with pytest.raises(HsmUnavailable):
            await hsm.sign(key, digest(1))
        assert "CKR_GENERAL_ERROR" in (hsm.problem or "")
        faulty.remove(broken)
        await until(lambda: hsm.workers == 1)
        verified(key, digest(1), await asyncio.wait_for(hsm.sign(key, digest(1)), 15))


async def test_doctor_takes_no_passing_error_for_a_refused_extraction(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with administration(faulty_settings) as token:
        await token.make_master_key(rewrappable=False, extractable=True)
        rule = faulty.returns("C_WrapKey", CKR.FUNCTION_FAILED, FIRST)
        outcome = await token.extract("wrap-master-key")
    assert faulty.fired(rule) == 1
    assert outcome.succeeded["custody/2"] == "custody/2"  # not only its second key
