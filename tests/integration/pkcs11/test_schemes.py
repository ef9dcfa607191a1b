"""Keys of every scheme: made, stored wrapped, used."""

import asyncio
import hashlib

import pytest

from custody.pkcs11.errors import InvalidData, SchemeUnsupported
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    HSM_ALGORITHMS,
    PUBLIC_KEY_SIZE,
    Algorithm,
    Protection,
    Scheme,
)
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signatures import SignatureResult, finish
from tests.integration.pkcs11.conftest import ALGORITHMS, opened
from tests.providers.tokens import CAPABILITIES


def digest(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4)).digest()


def verified(key: WrappedKey, data: bytes, raw: bytes) -> SignatureResult:
    """Raises BadSignature unless the signature is the key's."""
    if key.algorithm.scheme is Scheme.ECDSA:
        request = SignHash(kind="Hash", hash=data)
        return finish(raw, key.public_key, key.algorithm, None, request, data)
    message = SignMessage(kind="Message", message="0x" + data.hex())
    return finish(raw, key.public_key, key.algorithm, None, message, None)


@pytest.mark.each_provider
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_a_key_signs_what_its_public_key_verifies(hsm: Hsm, algorithm: Algorithm):
    key = await hsm.generate(algorithm)
    assert len(key.public_key) == PUBLIC_KEY_SIZE[algorithm]
    verified(key, digest(1), await hsm.sign(key, digest(1)))


async def test_softhsm_does_ecdsa_inside_and_ed25519_on_the_host(hsm: Hsm):
    assert await hsm.capabilities() == {
        ECDSA_SECP256K1: Protection.HSM,
        ECDSA_SECP256R1: Protection.HSM,
        EDDSA_ED25519: Protection.HOST,
    }
    inside = await hsm.generate(ECDSA_SECP256K1)
    assert (inside.protection, inside.master_key) == (Protection.HSM, "custody/1")
    assert inside.mechanism == "AES_KEY_WRAP_PAD"
    outside = await hsm.generate(EDDSA_ED25519)
    assert (outside.protection, outside.master_key) == (Protection.HOST, "custody-host/1")
    assert outside.mechanism == "AES_GCM"


@pytest.mark.each_provider
async def test_the_token_has_the_capabilities_that_tests_choose_by(hsm: Hsm, provider: str):
    found = await hsm.capabilities()
    inside = {algorithm for algorithm, kind in found.items() if kind is Protection.HSM}
    has = CAPABILITIES[provider]
    assert ("secp256k1" in has) is (ECDSA_SECP256K1 in inside)
    assert ("ed25519 inside" in has) is (EDDSA_ED25519 in inside)


async def test_without_host_signing_ed25519_is_refused(settings: HsmSettings):
    async with opened(settings, host_signing=frozenset()) as hsm:
        assert EDDSA_ED25519 not in await hsm.capabilities()
        with pytest.raises(SchemeUnsupported):
            await hsm.generate(EDDSA_ED25519)


async def test_two_keys_are_never_the_same(hsm: Hsm):
    keys = await asyncio.gather(*(hsm.generate(EDDSA_ED25519) for _ in range(20)))
    assert len({key.public_key for key in keys}) == 20
    assert len({key.wrapped for key in keys}) == 20


async def test_many_at_once_each_get_their_own_signature(hsm: Hsm):
    keys = await asyncio.gather(*(hsm.generate(algorithm) for algorithm in HSM_ALGORITHMS * 4))
    work = [(keys[number % len(keys)], digest(number)) for number in range(200)]
    signatures = await asyncio.gather(*(hsm.sign(key, data) for key, data in work))
    for (key, data), raw in zip(work, signatures, strict=True):
        verified(key, data, raw)


@pytest.mark.each_provider
async def test_one_bad_size_fails_alone(hsm: Hsm):
    key = await hsm.generate(ECDSA_SECP256R1)
    good, bad, other = await asyncio.gather(
        hsm.sign(key, digest(1)),
        hsm.sign(key, b"short"),
        hsm.sign(key, digest(2)),
        return_exceptions=True,
    )
    assert isinstance(bad, InvalidData)
    assert isinstance(good, bytes)
    assert isinstance(other, bytes)
    verified(key, digest(1), good)
    verified(key, digest(2), other)


@pytest.mark.each_provider
async def test_ed25519_signs_messages_of_any_length(hsm: Hsm):
    key = await hsm.generate(EDDSA_ED25519)
    for message in (b"", b"x", b"y" * 65_536):
        verified(key, message, await hsm.sign(key, message))
