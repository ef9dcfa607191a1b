"""Unwrapped keys that workers keep, and the session that unwrap, sign and destroy share."""

import pytest

from custody.pkcs11.errors import HsmFailure
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.integration.pkcs11.test_workers import until
from tests.providers.faulty_module import Call, FaultyModule, When
from tests.providers.return_codes import CKR

LONG = 3600.0


async def sign(hsm: Hsm, key: WrappedKey, *numbers: int) -> None:
    """Sign one digest after the other, and verify each signature."""
    for number in numbers:
        verified(key, digest(number), await hsm.sign(key, digest(number)))


def count(faulty: FaultyModule, function: str) -> int:
    return len(faulty.calls(function))


def unwrap_sign_destroy(calls: list[Call]) -> list[str]:
    functions = ("C_UnwrapKey", "C_SignInit", "C_Sign", "C_DestroyObject")
    return [call.function for call in calls if call.function in functions]


async def test_without_a_cache_each_signature_unwraps_and_destroys_its_key(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        before = len(faulty.calls())
        await sign(hsm, key, 1, 2)
        seen = unwrap_sign_destroy(faulty.calls()[before:])
        assert seen.count("C_UnwrapKey") == seen.count("C_DestroyObject") == 2
        assert seen[-1] == "C_DestroyObject"


async def test_a_session_that_moves_to_another_member_costs_no_request(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    """Unwrap, sign and destroy are calls of one process, and each worker opens one session.

    A load-balanced group may move a session between two of the calls. The handle of the unwrapped
    key is not valid at the other member: the worker is replaced, and the key is unwrapped again.
    """
    async with opened(faulty_settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        moved = faulty.returns("C_SignInit", CKR.KEY_HANDLE_INVALID, When(at=1, all_processes=True))
        await sign(hsm, key, 1)
        assert faulty.fired(moved) == 1
        await until(lambda: hsm.workers == 1)
        await sign(hsm, key, 2)
        for process_id in {call.process_id for call in faulty.calls()}:
            calls = [call for call in faulty.calls() if call.process_id == process_id]
            assert [call.function for call in calls].count("C_OpenSession") == 1
            seen = unwrap_sign_destroy(calls)
            if "C_SignInit" in seen:
                assert "C_UnwrapKey" in seen[: seen.index("C_SignInit")]


@pytest.mark.each_provider
async def test_a_cached_key_signs_again_without_being_unwrapped(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings, cached_keys=2, cached_keys_seconds=LONG) as hsm:
        key = await hsm.generate(ECDSA_SECP256R1)
        unwrapped, destroyed = count(faulty, "C_UnwrapKey"), count(faulty, "C_DestroyObject")
        await sign(hsm, key, 1, 2, 3)
        assert count(faulty, "C_UnwrapKey") == unwrapped + 1
        assert count(faulty, "C_DestroyObject") == destroyed


async def test_a_full_cache_destroys_a_key(faulty: FaultyModule, faulty_settings: HsmSettings):
    async with opened(faulty_settings, cached_keys=2, cached_keys_seconds=LONG) as hsm:
        keys = [await hsm.generate(ECDSA_SECP256K1) for _ in range(3)]
        destroyed = count(faulty, "C_DestroyObject")
        for key in keys:
            await sign(hsm, key, 1)
        assert count(faulty, "C_DestroyObject") == destroyed + 1


async def test_an_idle_worker_destroys_a_key_whose_time_is_over(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings, cached_keys=2, cached_keys_seconds=0.2) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        destroyed = count(faulty, "C_DestroyObject")
        await sign(hsm, key, 1)
        await until(lambda: count(faulty, "C_DestroyObject") == destroyed + 1)
        await sign(hsm, key, 2)


async def test_closing_destroys_cached_keys(faulty: FaultyModule, faulty_settings: HsmSettings):
    async with opened(faulty_settings, cached_keys=4, cached_keys_seconds=LONG) as hsm:
        keys = [await hsm.generate(ECDSA_SECP256K1) for _ in range(3)]
        for key in keys:
            await sign(hsm, key, 1)
        destroyed = count(faulty, "C_DestroyObject")
    assert count(faulty, "C_DestroyObject") == destroyed + 3


async def test_a_cached_key_that_the_token_dropped_is_unwrapped_again(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings, cached_keys=2, cached_keys_seconds=LONG) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        await sign(hsm, key, 1)
        worker = hsm.worker_process_ids
        faulty.returns("C_SignInit", CKR.KEY_HANDLE_INVALID, When(at=1, all_processes=True))
        await sign(hsm, key, 2)
        assert hsm.worker_process_ids != worker


async def test_a_cached_key_that_failed_is_not_used_again(
    faulty: FaultyModule, faulty_settings: HsmSettings
):
    async with opened(faulty_settings, cached_keys=2, cached_keys_seconds=LONG) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        await sign(hsm, key, 1)
        unwrapped = count(faulty, "C_UnwrapKey")
        try:
            await hsm.sign(key, b"not a digest")
        except HsmFailure:
            await sign(hsm, key, 2)
        assert count(faulty, "C_UnwrapKey") == unwrapped + 1
