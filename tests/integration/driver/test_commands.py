"""``hsm-driver``, as an operator types it, where something is not there."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.configuration import write_secret
from devstack.processes import LOCALHOST, free_port
from hsm_driver.cli import app
from hsm_driver.configuration import new_configuration


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration as ``init`` writes it, whose database is away."""
    write_secret(tmp_path / "pin", b"1234")
    path = tmp_path / "hsm-driver.toml"
    path.write_text(
        new_configuration(
            node="node-1",
            group="hsm",
            url="https://localhost:1",
            ca=Path("ca.pem"),
            certificate=Path("certificate.pem"),
            private_key=Path("private_key.pem"),
            job_signing_keys=["AAAA"],
            database_url=f"postgresql://hsm_driver@{LOCALHOST}:{free_port()}/hsm_driver",
            database_url_file=None,
            module=Path("/nowhere/pkcs11.so"),
            token_label="custody",
            pin_file=Path("pin"),
            host_signing=[],
            health_port=0,
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


def test_doctor_says_what_to_do_about_each_thing_that_is_not_there(config: Path):
    done = CliRunner().invoke(app, ["--config", str(config), "doctor", "--json"])
    assert done.exit_code == 1
    failed = [check for check in json.loads(done.stdout) if check["status"] == "fail"]
    names = [check["name"] for check in failed]
    assert names == [
        "identity key", "certificate", "job-signing keys", "module", "database",
        "signed requests", "control plane",
    ]  # fmt: skip
    assert all(check["detail"] and check["todo"] for check in failed)
