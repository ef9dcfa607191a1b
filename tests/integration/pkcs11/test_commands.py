"""``hsm-driver master-key``, as an operator types it."""

import json
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from custody.pkcs11.commands import master_key_app
from custody.pkcs11.messages import PinStanding
from custody.pkcs11.pin import PinMemory, PinRefused, Verdict
from custody.pkcs11.settings import HsmSettings, PinFile
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11 import outside
from tests.integration.pkcs11.conftest import settings_for
from tests.integration.pkcs11.outside import LABEL


def app(settings: HsmSettings) -> typer.Typer:
    return master_key_app(lambda _context: settings)


@pytest.mark.each_provider
def test_generate_list_check(empty_token: TokenFolder, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    command = app(settings_for(empty_token, tmp_path / "state"))
    runner = CliRunner()
    empty = runner.invoke(command, ["check"])
    assert empty.exit_code == 1
    assert runner.invoke(command, ["generate"]).exit_code == 0
    listed = runner.invoke(command, ["list", "--json"])
    keys = json.loads(listed.stdout)
    assert [key["name"] for key in keys] == ["custody/1", "custody-host/1"]
    assert all(len(key["check_value"]) == 2 + 64 for key in keys)
    assert not any(key["extractable"] or key["modifiable"] or key["copyable"] for key in keys)
    checked = runner.invoke(command, ["check", "--json"])
    assert checked.exit_code == 0
    assert json.loads(checked.stdout) == keys


def test_retry_pin_tries_a_refused_pin_once_more(settings: HsmSettings, tokens: TokenFolder):
    """The PIN was right, the token's was wrong for a while."""
    right = tokens.pin_file(LABEL).read_text()
    outside.change_pin(tokens, "some-other-pin")
    runner = CliRunner()
    assert runner.invoke(app(settings), ["check"]).exit_code == 1
    outside.run(
        tokens,
        f"token.open(rw=True, user_pin=pin).set_pin(pin, {right!r}); print('true')",
        "some-other-pin",
    )
    assert runner.invoke(app(settings), ["check"]).exit_code == 1
    assert runner.invoke(app(settings), ["check", "--retry-pin"]).exit_code == 0
    assert runner.invoke(app(settings), ["check"]).exit_code == 0


def test_retry_pin_is_for_the_token_that_the_error_names(
    settings: HsmSettings, tokens: TokenFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "400")
    pin_file = tokens.copy_to(LABEL, tokens, "second")
    state = settings.state_directory / "second"
    second = replace(settings, token_label="second", pin=PinFile(pin_file), state_directory=state)
    command = master_key_app(lambda _: settings, lambda _: [second])
    runner = CliRunner()
    PinMemory(settings).remember(Verdict.REFUSED)
    PinMemory(second).remember(Verdict.REFUSED)
    refused = runner.invoke(command, ["check", "--token", "second"])
    assert refused.exit_code == 1
    assert "master-key check --token second --retry-pin" in refused.output
    retried = runner.invoke(command, ["check", "--token", "second", "--retry-pin"])
    assert retried.exit_code == 0
    assert PinMemory(second).standing() is PinStanding.PROVEN
    with pytest.raises(PinRefused):
        PinMemory(settings).standing()
    unknown = runner.invoke(command, ["check", "--token", "third"])
    assert unknown.exit_code == 1
    assert "'second'" in unknown.output
