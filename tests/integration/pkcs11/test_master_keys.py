"""Master keys: made, numbered, proved, and not to be taken out."""

import os
import signal
from pathlib import Path

import pytest

from custody.pkcs11.administration import administration
from custody.pkcs11.doctor import hsm_checks
from custody.pkcs11.errors import HsmUnavailable
from custody.pkcs11.extraction_attempts import ATTEMPTS
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.messages import Obstacle
from custody.pkcs11.settings import HsmSettings
from custody.runtime.checks import Check, Status
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import make_master_key, opened, settings_for
from tests.integration.pkcs11.outside import LABEL, make_weak_master_key, objects, put_in_master_key
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.integration.pkcs11.test_workers import until


async def extractions(settings: HsmSettings) -> dict[str, bool]:
    """Which attempts succeed."""
    async with administration(settings) as token:
        return {
            attempt.name: bool((await token.extract(attempt.name)).succeeded)
            for attempt in ATTEMPTS
        }


async def doctor(settings: HsmSettings) -> dict[str, Check]:
    return {check.name: check async for check in hsm_checks(settings)}


@pytest.mark.each_provider
async def test_without_a_master_key_nothing_starts(empty_token: TokenFolder, tmp_path: Path):
    with pytest.raises(HsmCannotStart) as failure:
        async with opened(settings_for(empty_token, tmp_path / "state")):
            pass
    assert failure.value.obstacle is Obstacle.MASTER_KEY
    assert "master-key generate" in failure.value.todo


@pytest.mark.each_provider
async def test_versions_are_numbered_and_the_old_ones_go_on_working(settings: HsmSettings):
    async with opened(settings) as hsm:
        old = [await hsm.generate(ECDSA_SECP256R1), await hsm.generate(EDDSA_ED25519)]
        values = await hsm.check_values()
        await make_master_key(settings)
        assert await hsm.check_values() == values
        during = await hsm.generate(ECDSA_SECP256R1)
        assert during.master_key == "custody/1"
    async with opened(settings) as hsm:
        found = await hsm.check_values()
        assert set(found) == {"custody/1", "custody/2", "custody-host/1", "custody-host/2"}
        assert values.items() <= found.items()
        assert all(len(value) == 32 for value in found.values())
        assert len(set(found.values())) == 4
        new = await hsm.generate(ECDSA_SECP256R1)
        assert new.master_key == "custody/2"
        assert (await hsm.generate(EDDSA_ED25519)).master_key in ("custody/2", "custody-host/2")
        for key in (*old, during, new):
            verified(key, digest(1), await hsm.sign(key, digest(1)))


async def test_a_token_exchanged_while_running_signs_nothing(
    settings: HsmSettings, tokens: TokenFolder
):
    """Same label, same PIN, same names of keys; another master key."""
    pin = tokens.pin_file(LABEL).read_text()
    async with opened(settings) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        tokens.wipe(LABEL)
        tokens.make(LABEL, pin)
        await make_master_key(settings)
        for process_id in hsm.worker_process_ids:
            os.kill(process_id, signal.SIGKILL)
        await until(lambda: "not those of before" in str(hsm.problem))
        with pytest.raises(HsmUnavailable):
            await hsm.sign(key, digest(1))


async def test_a_key_put_into_the_token_is_no_master_key(
    settings: HsmSettings, tokens: TokenFolder
):
    put_in_master_key(tokens, version=2)
    with pytest.raises(HsmCannotStart) as failure:
        async with opened(settings):
            pass
    assert failure.value.obstacle is Obstacle.MASTER_KEY
    assert "custody/2" in failure.value.what
    assert (await doctor(settings))["master key"].status is Status.FAIL


@pytest.mark.each_provider
async def test_every_extraction_is_refused(settings: HsmSettings, tokens: TokenFolder):
    before = objects(tokens)
    assert not any((await extractions(settings)).values())
    assert objects(tokens) == before


async def test_a_rewrappable_master_key_lets_keys_be_wrapped_by_others(
    empty_token: TokenFolder, tmp_path: Path
):
    settings = settings_for(empty_token, tmp_path / "state")
    await make_master_key(settings, rewrappable=True)
    succeeded = [name for name, happened in (await extractions(settings)).items() if happened]
    assert succeeded == ["unwrap-extractable"]


async def test_an_extractable_master_key_can_be_wrapped_out(
    empty_token: TokenFolder, tmp_path: Path
):
    settings = settings_for(empty_token, tmp_path / "state")
    await make_master_key(settings, extractable=True)
    succeeded = [name for name, happened in (await extractions(settings)).items() if happened]
    assert succeeded == ["wrap-master-key"]


async def test_flags_alone_do_not_hold(empty_token: TokenFolder, tmp_path: Path):
    """Why the template is what it is: sensitive and not extractable is not enough."""
    settings = settings_for(empty_token, tmp_path / "state")
    make_weak_master_key(empty_token)
    succeeded = await extractions(settings)
    assert succeeded["change-master-key"]
    assert succeeded["copy-master-key"]
    assert succeeded["unwrap-readable"]
    assert succeeded["unwrap-as-secret"]
    assert not succeeded["read-master-key"]
    assert objects(empty_token) == ["custody"]
    checks = await doctor(settings)
    assert checks["try: unwrap-readable"].status is Status.FAIL
    assert checks["try: unwrap-readable"].todo is not None


async def test_an_old_weak_version_still_shows(empty_token: TokenFolder, tmp_path: Path):
    settings = settings_for(empty_token, tmp_path / "state")
    make_weak_master_key(empty_token)
    await make_master_key(settings)
    assert (await extractions(settings))["unwrap-readable"]


async def test_doctor_is_content_with_a_good_token(settings: HsmSettings):
    checks = await doctor(settings)
    worst = {name: check for name, check in checks.items() if check.status is not Status.OK}
    assert set(worst) == {"host signing"}
    assert worst["host signing"].status is Status.WARN
    assert checks["EdDSA/ed25519"].detail.startswith("on the host")


@pytest.mark.each_provider
async def test_doctor_finds_no_fault_on_a_token_of_any_kind(settings: HsmSettings):
    checks = await doctor(settings)
    assert not [check for check in checks.values() if check.status is Status.FAIL]


async def test_doctor_says_where_it_came_to_an_end(empty_token: TokenFolder, tmp_path: Path):
    checks = await doctor(settings_for(empty_token, tmp_path / "state"))
    assert checks["PIN"].status is Status.OK
    assert checks["master key"].status is Status.FAIL
    empty_token.pin_file(LABEL).write_text("wrong-one")
    checks = await doctor(settings_for(empty_token, tmp_path / "state"))
    assert checks["token"].status is Status.OK
    assert checks["PIN"].status is Status.FAIL
    checks = await doctor(settings_for(empty_token, tmp_path / "state"))
    assert "not tried again" in checks["PIN"].detail
