"""``hsm-driver``, as an operator types it, where something is not there."""

import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from custody.node.doctor import host_checks
from custody.node.settings import GateSection
from custody.runtime.checks import Check, Status
from custody.runtime.configuration import read_settings, write_secret
from custody.runtime.console import EXIT_COULD_NOT_CHECK
from custody.runtime.signing_key import create_signing_key
from devstack.processes import LOCALHOST, free_port
from hsm_driver.cli import app
from hsm_driver.configuration import NewDriver, new_configuration
from hsm_driver.settings import DriverSettings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration as ``init`` writes it, whose database is away."""
    write_secret(tmp_path / "pin", b"1234")
    path = tmp_path / "hsm-driver.toml"
    path.write_text(
        new_configuration(
            NewDriver(
                node="node-1",
                group="hsm",
                url="https://localhost:1",
                job_signing_keys=["AAAA"],
                database_url=f"postgresql://hsm_driver@{LOCALHOST}:{free_port()}/hsm_driver",
                health_port=0,
                module=Path("/nowhere/pkcs11.so"),
                token_label="custody",
                pin_file=Path("pin"),
            )
        )
    )
    return path


@pytest.mark.parametrize("command", [["migrate"], ["keys", "list"], ["keys", "verify"]])
def test_a_database_that_is_away_is_an_error_that_says_what_to_do(config: Path, command):
    done = CliRunner().invoke(app, ["--config", str(config), *command])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "Connection refused" in done.stderr
    assert "[database]" in done.stderr


def test_host_signing_is_not_for_algorithms_that_only_mpc_has(config: Path):
    text = config.read_text().replace("host_signing = []", 'host_signing = ["Schnorr/secp256k1"]')
    config.write_text(text)
    done = CliRunner().invoke(app, ["--config", str(config), "doctor"])
    assert done.exit_code == 1
    assert "Schnorr/secp256k1 is for MPC keys alone" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs one public key"),
        (["--public-key", "AAAA", "--public-key-file", "app.pem"], "needs one public key"),
        (["--public-key", "no base64"], "not an Ed25519 public key"),
        (["--public-key", "AAAA"], "not an Ed25519 public key"),
        (["--public-key", base64.b64encode(bytes(32)).decode()], "not an Ed25519 public key"),
        (["--public-key", base64.b64encode(b"\x01" + bytes(31)).decode()], "small or mixed order"),
        (["--public-key", base64.b64encode(b"\xff" * 32).decode()], "a point of the curve"),
        (["--public-key-file", "/nowhere/app.pem"], "cannot read"),
    ],
)
def test_what_is_no_applications_key_is_not_pinned(config: Path, arguments, said: str):
    done = CliRunner().invoke(app, ["--config", str(config), "apps", "add", "shop", *arguments])
    assert done.exit_code == 1
    assert said in done.stderr


def test_the_explained_settings_of_the_gate_are_those_that_there_are(config: Path):
    text = config.read_text()
    begin, end = text.index("# [gate]"), text.index("[backup]")
    uncommented = text[begin:end].replace("\n# ", "\n").removeprefix("# ")
    config.write_text(text[:begin] + uncommented + text[end:])
    gate = read_settings(config, DriverSettings).gate
    assert gate is not None
    assert gate.model_fields_set == set(GateSection.model_fields)
    defaults = {name: GateSection.model_fields[name].default for name in OPTIONAL}
    assert gate.model_dump(include=set(OPTIONAL)) == defaults


OPTIONAL = ("timeout_seconds", "allow_bare_hashes", "at_once")


def test_doctor_says_what_to_do_about_each_thing_that_is_not_there(config: Path):
    done = CliRunner().invoke(app, ["--config", str(config), "doctor", "--json"])
    assert done.exit_code == 1
    failed = [check for check in json.loads(done.stdout) if check["status"] == "fail"]
    names = [check["name"] for check in failed]
    assert names == [
        "identity key", "certificate control_plane", "job-signing keys", "module", "database",
        "signed requests", "control plane",
    ]  # fmt: skip
    assert all(check["detail"] and check["todo"] for check in failed)


def test_doctor_warns_of_a_database_that_nothing_proves(config: Path):
    def found() -> Check:
        checks = {check.name: check for check in host_checks(read_settings(config, DriverSettings))}
        return checks["database connection"]

    assert found().status is Status.OK
    config.write_text(config.read_text().replace(f"@{LOCALHOST}:", "@db.example:"))
    check = found()
    assert check.status is Status.WARN
    assert "db.example" in check.detail
    assert check.todo is not None
    assert "sslmode=verify-full" in check.todo


@pytest.mark.parametrize("arguments", [["--offline"], ["--offline", "--json"], []])
def test_a_chain_that_cannot_be_checked_is_told_from_one_with_findings(config: Path, arguments):
    done = CliRunner().invoke(app, ["--config", str(config), "audit", "verify", *arguments])
    assert done.exit_code == EXIT_COULD_NOT_CHECK
    assert isinstance(done.exception, SystemExit)
    create_signing_key(config.parent / "identity.pem")
    done = CliRunner().invoke(app, ["--config", str(config), "audit", "verify", *arguments])
    assert done.exit_code == EXIT_COULD_NOT_CHECK
    assert isinstance(done.exception, SystemExit)
