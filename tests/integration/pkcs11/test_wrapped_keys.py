"""Wrapped keys that are damaged, swapped or another token's sign nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from custody.node.errors import Failed, Refused
from custody.node.handlers import Work
from custody.pkcs11.errors import HsmFailure, KeyUnusable, MasterKeyMissing
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    Algorithm,
    Protection,
)
from custody.wire.signatures import BadSignature
from hsm_driver.vault import Vault
from tests.integration.pkcs11.conftest import (
    ALGORITHMS,
    make_master_key,
    opened,
    see_only,
    settings_for,
)
from tests.integration.pkcs11.outside import LABEL
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.tokens import Tokens
from tests.unit.node.requests import complete, job_around


def damaged(blob: bytes) -> list[bytes]:
    """A bit turned at the start, in the middle and at the end; cut short; doubled; empty."""
    turned = [
        blob[:index] + bytes([blob[index] ^ 1]) + blob[index + 1 :]
        for index in (0, len(blob) // 2, len(blob) - 1)
    ]
    return [*turned, blob[:-8], blob[:5], blob + blob, b""]


@pytest.mark.each_provider
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_a_damaged_blob_is_refused_and_the_worker_lives_on(
    hsm: Hsm, algorithm: Algorithm, refused: type[HsmFailure]
):
    key = await hsm.generate(algorithm)
    workers = set(hsm.worker_process_ids)
    for blob in damaged(key.wrapped):
        with pytest.raises(refused):
            await hsm.sign(replace(key, wrapped=blob), digest(1))
    verified(key, digest(1), await hsm.sign(key, digest(1)))
    assert workers <= set(hsm.worker_process_ids)


@pytest.mark.each_provider
async def test_swapped_blobs_inside_the_hsm_give_a_signature_that_does_not_verify(hsm: Hsm):
    one, other = await hsm.generate(ECDSA_SECP256R1), await hsm.generate(ECDSA_SECP256R1)
    raw = await hsm.sign(replace(one, wrapped=other.wrapped), digest(1))
    with pytest.raises(BadSignature):
        verified(one, digest(1), raw)


async def test_swapped_blobs_of_host_keys_do_not_decrypt(hsm: Hsm):
    one, other = await hsm.generate(EDDSA_ED25519), await hsm.generate(EDDSA_ED25519)
    with pytest.raises(KeyUnusable):
        await hsm.sign(replace(one, wrapped=other.wrapped), digest(1))


async def test_a_host_key_under_another_algorithm_does_not_decrypt(hsm: Hsm):
    key = await hsm.generate(EDDSA_ED25519)
    with pytest.raises(KeyUnusable):
        await hsm.sign(replace(key, algorithm=ECDSA_SECP256K1), digest(1))


async def test_what_names_a_key_must_fit(hsm: Hsm):
    key = await hsm.generate(ECDSA_SECP256K1)
    for changed in (
        replace(key, master_key="custody/2"),
        replace(key, master_key="custody-host/1"),
        replace(key, protection=Protection.HOST),
        replace(key, mechanism="AES_CBC"),
        replace(key, mechanism=""),
    ):
        with pytest.raises(KeyUnusable):
            await hsm.sign(changed, digest(1))


async def test_a_key_of_a_master_key_that_the_worker_has_not_found_is_named(hsm: Hsm):
    for algorithm, missing in ((ECDSA_SECP256K1, "custody/2"), (EDDSA_ED25519, "custody-host/2")):
        key = await hsm.generate(algorithm)
        with pytest.raises(MasterKeyMissing):
            await hsm.sign(replace(key, master_key=missing), digest(1))
    with pytest.raises(MasterKeyMissing):
        await hsm.unseal("custody-host/2", bytes(40), b"")


async def test_a_job_under_a_master_key_that_this_driver_has_not_found_is_refused(hsm: Hsm):
    """Another driver of the group takes it: drivers are restarted one by one after an adoption."""
    vault = Vault(cast(Any, None), hsm)  # no database: the key is given
    key = await hsm.generate(ECDSA_SECP256K1)
    work = Work(job_around(complete()), digest(1))
    verified(key, digest(1), await vault.sign(key, digest(1), work))
    with pytest.raises(Refused) as refused:
        await vault.sign(replace(key, master_key="custody/2"), digest(1), work)
    assert refused.value.code == "master_key_missing"
    with pytest.raises(Failed):  # a command asks no other driver
        await vault.sign(replace(key, master_key="custody/2"), digest(1))


@pytest.mark.each_provider
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_another_tokens_master_key_unwraps_nothing(
    settings: HsmSettings,
    tokens: Tokens,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: Algorithm,
    refused: type[HsmFailure],
):
    async with opened(settings) as hsm:
        key = await hsm.generate(algorithm)
        ours = await hsm.check_values()
    other = type(tokens)(tmp_path / "other")
    other.make(LABEL)
    see_only(other, monkeypatch)
    other_settings = settings_for(other, tmp_path / "other-state")
    await make_master_key(other_settings)
    async with opened(other_settings) as hsm:
        theirs = await hsm.check_values()
        assert theirs.keys() == ours.keys()
        assert not set(theirs.values()) & set(ours.values())
        with pytest.raises(refused):
            await hsm.sign(key, digest(1))


@pytest.mark.each_provider
async def test_a_cloned_token_signs_with_the_same_keys(
    settings: HsmSettings, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with opened(settings) as hsm:
        keys = [await hsm.generate(algorithm) for algorithm in await hsm.capabilities()]
        values = await hsm.check_values()
    second: Any = type(tokens)(tmp_path / "second")
    tokens.copy_to(LABEL, second)
    see_only(second, monkeypatch)
    tokens.wipe(LABEL)
    async with opened(settings_for(second, tmp_path / "second-state")) as hsm:
        assert await hsm.check_values() == values
        for key in keys:
            verified(key, digest(1), await hsm.sign(key, digest(1)))
