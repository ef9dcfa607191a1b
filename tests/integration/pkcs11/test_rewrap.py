"""Stored keys under another master key of the same token."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from custody.pkcs11.administration import administration
from custody.pkcs11.commands import show_keys
from custody.pkcs11.doctor import hsm_checks
from custody.pkcs11.errors import HsmFailure, KeyNotWrappable, KeyUnusable, MasterKeyMissing
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.messages import MasterKeyRecord
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_traits import TokenTraits
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.checks import Status
from custody.wire.algorithms import ECDSA_SECP256R1, EDDSA_ED25519, Protection
from tests.integration.pkcs11.conftest import make_master_key, opened, settings_for
from tests.integration.pkcs11.outside import objects
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.tokens import Tokens


@pytest.fixture
def rewrappable(empty_token: Tokens, tmp_path: Path) -> HsmSettings:
    """A token whose first master key will be made with --rewrappable, and that accepts it."""
    return replace(settings_for(empty_token, tmp_path / "state"), accept_weaker=True)


async def made_keys(hsm: Hsm) -> list[WrappedKey]:
    return [await hsm.generate(algorithm) for algorithm in await hsm.capabilities()]


def next_of(key: WrappedKey) -> str:
    return key.master_key.replace("/1", "/2")


@pytest.mark.each_provider
async def test_a_key_of_each_algorithm_signs_under_the_next_master_key(
    rewrappable: HsmSettings, empty_token: Tokens
):
    await make_master_key(rewrappable, rewrappable=True)
    async with opened(rewrappable) as hsm:
        keys = await made_keys(hsm)
    await make_master_key(rewrappable)
    before = objects(empty_token)
    async with opened(rewrappable) as hsm:
        for key in keys:
            moved = await hsm.rewrap(key, next_of(key))
            assert moved.wrapped != key.wrapped
            expected = replace(key, wrapped=moved.wrapped, master_key=next_of(key))
            assert moved == expected
            for each in (moved, key):  # a driver that has the old row continues to work
                verified(key, digest(1), await hsm.sign(each, digest(1)))
            with pytest.raises(HsmFailure):
                await hsm.sign(replace(moved, master_key=key.master_key), digest(1))
    assert objects(empty_token) == before


@pytest.mark.each_provider
async def test_a_locked_master_key_lets_no_key_be_rewrapped_and_says_so(settings: HsmSettings):
    async with opened(settings) as hsm:
        keys = await made_keys(hsm)
    await make_master_key(settings)
    async with opened(settings) as hsm:
        workers = set(hsm.worker_process_ids)
        for key in keys:
            if key.protection is Protection.HOST:
                continue
            with pytest.raises(KeyNotWrappable, match="'custody/1' is locked"):
                await hsm.rewrap(key, "custody/2")
            verified(key, digest(1), await hsm.sign(key, digest(1)))
        assert workers <= set(hsm.worker_process_ids)


async def test_a_host_key_is_rewrapped_from_a_locked_master_key(settings: HsmSettings):
    """The key that encrypts host keys can decrypt, so nothing locks it."""
    async with opened(settings) as hsm:
        key = await hsm.generate(EDDSA_ED25519)
    await make_master_key(settings)
    async with opened(settings) as hsm:
        moved = await hsm.rewrap(key, "custody-host/2")
        assert (moved.protection, moved.mechanism) == (Protection.HOST, "AES_GCM")
        verified(key, digest(1), await hsm.sign(moved, digest(1)))


@pytest.mark.each_provider
async def test_wrap_with_trusted_neither_locks_nor_unlocks_a_master_key(rewrappable: HsmSettings):
    trusting = replace(rewrappable, traits=TokenTraits(wrap_with_trusted=True))
    await make_master_key(trusting, rewrappable=True)
    async with opened(trusting) as hsm:
        key = await hsm.generate(ECDSA_SECP256R1)
    await make_master_key(trusting)
    async with opened(trusting) as hsm:
        moved = await hsm.rewrap(key, "custody/2")
        verified(key, digest(1), await hsm.sign(moved, digest(1)))
        with pytest.raises(KeyNotWrappable):
            await hsm.rewrap(moved, "custody/1")


@pytest.mark.each_provider
async def test_list_doctor_and_try_token_say_which_master_keys_let_their_keys_out(
    rewrappable: HsmSettings, empty_token: Tokens
):
    await make_master_key(rewrappable, rewrappable=True)
    await make_master_key(rewrappable)
    before = objects(empty_token)
    option = "a key of generate --rewrappable"
    async with administration(rewrappable) as token:
        can = await token.rewrappable()
    assert can == {"custody/1": True, "custody/2": False, option: True}
    checks = {each.name: each async for each in hsm_checks(rewrappable)}
    assert checks["rewrap from custody/1"].detail.startswith("works: ")
    assert "locked: the token answered CKR_" in checks["rewrap from custody/2"].detail
    assert checks["rewrap from custody/2"].status is Status.OK
    assert objects(empty_token) == before


@pytest.mark.parametrize("purpose", ["wraps keys", "encrypts host keys"])
def test_master_key_list_has_a_column_of_it(purpose: str, capsys: pytest.CaptureFixture[str]):
    facts: dict[str, Any] = {"purpose": purpose}
    key = MasterKeyRecord.model_construct(
        name="custody/1", **facts, check_value=None, made_inside=True, extractable=False,
        modifiable=False, copyable=False, label="custody", version=1, sensitive=True,
    )  # fmt: skip
    for can, word in ((True, "yes"), (False, "no"), (None, "unknown")):
        show_keys([key], as_json=False, rewrappable={"custody/1": can})
        header, row = capsys.readouterr().out.splitlines()
        assert header.split()[-1] == "rewrappable"
        assert row.split()[-1] == ("yes" if purpose == "encrypts host keys" else word)
        show_keys([key], as_json=True, rewrappable={"custody/1": can})
        [shown] = json.loads(capsys.readouterr().out)
        assert shown["rewrappable"] is (True if purpose == "encrypts host keys" else can)


Change = Callable[[WrappedKey], WrappedKey]


@pytest.mark.each_provider
@pytest.mark.parametrize(
    "change",
    [
        lambda key: replace(key, wrapped=key.wrapped[:-8]),
        lambda key: replace(key, wrapped=bytes([key.wrapped[0] ^ 1]) + key.wrapped[1:]),
    ],
    ids=["cut short", "a bit turned"],
)
async def test_a_damaged_key_is_no_locked_master_key(
    rewrappable: HsmSettings, refused: type[HsmFailure], change: Change
):
    await make_master_key(rewrappable, rewrappable=True)
    async with opened(rewrappable) as hsm:
        key = await hsm.generate(ECDSA_SECP256R1)
    await make_master_key(rewrappable)
    async with opened(rewrappable) as hsm:
        with pytest.raises(refused) as failure:
            await hsm.rewrap(change(key), "custody/2")
        assert not isinstance(failure.value, KeyNotWrappable)
        await hsm.rewrap(key, "custody/2")


async def test_what_names_the_two_master_keys_must_fit(hsm: Hsm):
    key, host = await hsm.generate(ECDSA_SECP256R1), await hsm.generate(EDDSA_ED25519)
    with pytest.raises(MasterKeyMissing):
        await hsm.rewrap(key, "custody/2")
    with pytest.raises(MasterKeyMissing):
        await hsm.rewrap(replace(host, master_key="custody-host/2"), "custody-host/1")
    for each, to in ((key, "custody-host/1"), (host, "custody/1")):
        with pytest.raises(KeyUnusable, match="wraps no keys of protection"):
            await hsm.rewrap(each, to)
