"""The operator that a record names, and the reason, which has the same limits everywhere."""

import os
import pwd
from pathlib import Path
from uuid import uuid4

import pytest
from typer import Typer
from typer.testing import CliRunner

import hsm_driver.cli
import mpc.cli
import mpc.recover_cli
from custody.control_plane import cli as control_plane
from custody.runtime import operators
from custody.runtime.errors import OperatorError
from custody.runtime.operators import MAX_REASON, operator_name, reason_of
from custody.wire.audit import Restored

KEY = str(uuid4())
NOWHERE = Path("/nowhere/custody.toml")
DRIVER, SIGNER, CONTROL_PLANE = hsm_driver.cli.app, mpc.cli.app, control_plane.app
COMMANDS = [
    (DRIVER, "master-key", "retire", "custody/1"),
    (DRIVER, "audit", "restored"),
    (SIGNER, "audit", "restored"),
    (SIGNER, "shares", "discard", KEY, KEY),
    (SIGNER, "repair", "approve", KEY, "signer-2"),
    (SIGNER, "bans", "do-without", "signer-2"),
    (SIGNER, "bans", "ask-again"),
    (SIGNER, "bans", "add", KEY, "signer-2"),
    (SIGNER, "bans", "resolve", KEY, "signer-2", "--clear"),
    (CONTROL_PLANE, "node", "restored", "driver-1"),
]


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the kernel says who logged in. It does not exist yet."""
    monkeypatch.setattr(operators, "LOGIN_UID", tmp_path / "loginuid")
    return tmp_path / "loginuid"


MY_NAME = pwd.getpwuid(os.getuid()).pw_name


def test_the_environment_does_not_name_the_operator(login: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "alice")
    assert operator_name() == MY_NAME


@pytest.mark.parametrize(
    ("login_uid", "operator"),
    [
        (str(os.getuid()), MY_NAME),
        ("4294967295", MY_NAME),
        ("", MY_NAME),
        ("1", f"{pwd.getpwuid(1).pw_name} as {MY_NAME}"),
        ("3999999999", f"user 3999999999 as {MY_NAME}"),
    ],
    ids=["the same user", "no login", "unreadable", "another user", "a user without a name"],
)
def test_the_user_who_logged_in_is_named_before_the_user_of_the_process(
    login: Path, login_uid: str, operator: str
):
    login.write_text(login_uid)
    assert operator_name() == operator


@pytest.mark.parametrize("text", [None, "", "  ", "x" * (MAX_REASON + 1)])
def test_a_missing_or_long_reason_is_refused(text: str | None):
    with pytest.raises(OperatorError, match=f"1 to {MAX_REASON} characters") as caught:
        reason_of(text, "disk failed")
    assert '--reason "disk failed"' in caught.value.todo


def test_a_reason_in_another_encoding_is_refused():
    typed = "grün".encode("latin-1").decode("utf-8", "surrogateescape")  # as sys.argv has it
    with pytest.raises(OperatorError, match="not UTF-8"):
        reason_of(typed, "disk failed")


def test_a_reason_of_the_greatest_length_is_taken():
    assert reason_of(f" {'x' * MAX_REASON} ", "disk failed") == "x" * MAX_REASON


def test_the_signed_statement_takes_the_same_reasons():
    schema = Restored.model_json_schema()["properties"]["reason"]
    assert (schema["minLength"], schema["maxLength"]) == (1, MAX_REASON)


@pytest.mark.parametrize("reason", ["", "x" * (MAX_REASON + 1)], ids=["empty", "long"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[1:3]))
def test_each_command_refuses_such_a_reason_before_all_else(
    command: tuple[Typer, str], reason: str
):
    app, *words = command
    done = CliRunner().invoke(app, ["--config", str(NOWHERE), *words, "--reason", reason])
    assert done.exit_code == 1
    assert f"1 to {MAX_REASON} characters" in done.stderr


@pytest.mark.parametrize("reason", ["", "x" * (MAX_REASON + 1)], ids=["empty", "long"])
def test_restore_signer_refuses_such_a_reason(tmp_path: Path, reason: str):
    words = ["restore-signer", str(tmp_path), "--customer-key", str(tmp_path / "key")]
    words += ["--config", str(NOWHERE), "--reason", reason]
    done = CliRunner().invoke(mpc.recover_cli.app, words)
    assert done.exit_code == 1
    assert f"1 to {MAX_REASON} characters" in done.stderr
