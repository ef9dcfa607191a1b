"""Secrets that are kept outside, encrypted by a key that stays on the token."""

import pytest

from custody.pkcs11.errors import KeyUnusable
from custody.pkcs11.hsm import Hsm

NAME = "custody-host/1"


@pytest.mark.each_provider
async def test_what_was_sealed_is_unsealed_under_the_same_associated_data(hsm: Hsm):
    sealed = await hsm.seal(NAME, b"secret", b"place")
    assert b"secret" not in sealed
    assert await hsm.unseal(NAME, sealed, b"place") == b"secret"
    assert await hsm.seal(NAME, b"secret", b"place") != sealed


@pytest.mark.each_provider
async def test_nothing_else_is_unsealed(hsm: Hsm):
    sealed = await hsm.seal(NAME, b"secret", b"place")
    for changed, place in (
        (sealed, b"another place"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"place"),
        (sealed[:5], b"place"),
    ):
        with pytest.raises(KeyUnusable):
            await hsm.unseal(NAME, changed, place)
    assert await hsm.unseal(NAME, sealed, b"place") == b"secret"


@pytest.mark.parametrize("name", ["custody/1", "custody-host/2", "other"])
async def test_only_a_key_of_the_token_that_encrypts_seals(hsm: Hsm, name: str):
    with pytest.raises(KeyUnusable):
        await hsm.seal(name, b"secret", b"place")
