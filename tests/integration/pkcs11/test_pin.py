"""A wrong PIN is tried once, however many processes ask."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from custody.pkcs11.administration import administration
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.messages import Obstacle
from custody.pkcs11.pin import PinMemory, PinRefused
from custody.pkcs11.settings import HsmSettings, PinCredential
from custody.runtime.errors import ConfigurationError, OperatorError
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11 import outside
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.outside import LABEL
from tests.integration.pkcs11.test_workers import until, until_ready
from tests.providers.faulty_module import FaultyModule

WRONG = "0000-not-it"


def logins(faulty: FaultyModule) -> int:
    """Return how many logins were tried."""
    return len(faulty.calls("C_Login"))


def write_pin(tokens: TokenFolder, pin: str) -> str:
    path = tokens.pin_file(LABEL)
    before = path.read_text()
    path.write_text(pin)
    return before


async def start(settings: HsmSettings, **changes) -> None:
    async with opened(settings, **changes):
        pass


async def test_a_wrong_pin_is_tried_once_also_after_a_restart(
    settings: HsmSettings, tokens: TokenFolder
):
    right = write_pin(tokens, WRONG)
    with pytest.raises(HsmCannotStart) as first:
        await start(settings)
    assert first.value.obstacle is Obstacle.PIN
    assert outside.counts_a_wrong_pin(tokens)
    outside.log_in(tokens, right)
    for _ in range(3):
        with pytest.raises(PinRefused):
            await start(settings)
    with pytest.raises(PinRefused):
        async with administration(settings):
            pass
    assert not outside.counts_a_wrong_pin(tokens)
    write_pin(tokens, right)
    await start(settings)


async def test_only_one_worker_tries_it(
    faulty_settings: HsmSettings, tokens: TokenFolder, faulty: FaultyModule
):
    write_pin(tokens, WRONG)
    with pytest.raises(OperatorError):
        await start(faulty_settings, workers=4)
    assert logins(faulty) == 1


@pytest.mark.parametrize("has_worked_before", [False, True])
async def test_two_processes_at_once_try_it_once(
    faulty_settings: HsmSettings, tokens: TokenFolder, faulty: FaultyModule, has_worked_before: bool
):
    if has_worked_before:
        await start(faulty_settings)
        outside.change_pin(tokens, "5678-new")
    else:
        write_pin(tokens, WRONG)
    before = logins(faulty)
    outcomes = await asyncio.gather(
        *(start(faulty_settings, workers=2) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(outcome, OperatorError) for outcome in outcomes)
    assert logins(faulty) == before + 1


async def test_a_pin_changed_on_the_token_while_running_is_refused_once(
    faulty_settings: HsmSettings, tokens: TokenFolder, faulty: FaultyModule
):
    async with opened(faulty_settings, workers=2) as hsm:
        await until_ready(hsm, 2)
        assert logins(faulty) == 2
        outside.change_pin(tokens, "5678-new")
        for process_id in hsm.worker_process_ids:
            os.kill(process_id, signal.SIGKILL)
        # one seat was refused, and another one has then asked whether it may try
        await until(lambda: "has refused this PIN before" in str(hsm.problem))
        assert logins(faulty) == 3
        write_pin(tokens, "5678-new")
        await until_ready(hsm, 1)


async def test_a_pin_that_worked_is_remembered_by_its_files_identity_alone(
    settings: HsmSettings, tokens: TokenFolder
):
    await start(settings)
    memory = (settings.state_directory / "pin.json").read_text()
    assert '"accepted"' in memory
    assert tokens.pin_file(LABEL).read_text() not in memory


async def test_a_try_without_an_answer_makes_us_careful(
    faulty_settings: HsmSettings, tokens: TokenFolder, faulty: FaultyModule
):
    """A crash between trying and remembering: the token's own count decides."""
    right = write_pin(tokens, WRONG)
    with pytest.raises(OperatorError):
        await start(faulty_settings)
    memory = faulty_settings.state_directory / "pin.json"
    memory.write_text(memory.read_text().replace("refused", "trying"))
    with pytest.raises(HsmCannotStart) as refused:
        await start(faulty_settings)
    assert refused.value.obstacle is Obstacle.LOGIN
    assert "counts a wrong PIN" in refused.value.what
    outside.log_in(tokens, right)
    with pytest.raises(HsmCannotStart) as tried:
        await start(faulty_settings)
    assert tried.value.obstacle is Obstacle.PIN


async def test_a_refused_credential_sticks_until_somebody_says_retry(
    settings: HsmSettings, tokens: TokenFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    right = tokens.pin_file(LABEL).read_text()

    def give(pin: str) -> None:
        """As systemd does: a new file at each start."""
        (folder / "hsm-pin").unlink(missing_ok=True)
        (folder / "hsm-pin").write_text(pin)
        (folder / "hsm-pin").chmod(0o400)

    credential = PinCredential("hsm-pin")
    give(WRONG)
    with pytest.raises(HsmCannotStart):
        await start(settings, pin=credential)
    give(right)
    with pytest.raises(PinRefused) as refused:
        await start(settings, pin=credential)
    assert "--retry-pin" in refused.value.todo
    PinMemory(replace(settings, pin=credential)).forget()
    await start(settings, pin=credential)


async def test_the_pin_is_in_no_workers_arguments_or_environment(
    settings: HsmSettings, tokens: TokenFolder
):
    pin = tokens.pin_file(LABEL).read_text().encode()
    async with opened(settings) as hsm:
        for process_id in hsm.worker_process_ids:
            process = Path("/proc") / str(process_id)
            assert pin not in (process / "cmdline").read_bytes()
            assert pin not in (process / "environ").read_bytes()


async def test_a_pin_file_that_others_may_read_is_refused(
    settings: HsmSettings, tokens: TokenFolder
):
    tokens.pin_file(LABEL).chmod(0o644)
    with pytest.raises(ConfigurationError):
        await start(settings)


async def test_a_pin_file_that_cannot_be_right_is_not_tried(
    faulty_settings: HsmSettings, tokens: TokenFolder, faulty: FaultyModule
):
    write_pin(tokens, "1234\n\n")
    with pytest.raises(ConfigurationError, match="more than one line"):
        await start(faulty_settings, workers=2)
    assert logins(faulty) == 0
    assert not (faulty_settings.state_directory / "pin.json").exists()


@pytest.mark.parametrize(
    ("changes", "obstacle"),
    [
        ({"token_label": "nobody"}, Obstacle.TOKEN),
        ({"module": Path("/nonexistent.so")}, Obstacle.MODULE),
        ({"module": Path("/etc/hostname")}, Obstacle.MODULE),
    ],
)
async def test_what_keeps_a_worker_from_logging_in_is_no_verdict_on_the_pin(
    settings: HsmSettings, changes: dict, obstacle: Obstacle
):
    with pytest.raises(HsmCannotStart) as failure:
        await start(settings, **changes)
    assert failure.value.obstacle is obstacle
    await start(settings)
