"""mpc-delivery as an operator uses it."""

import contextlib
import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from custody.delivery.cli import app
from custody.delivery.settings import Settings, load_settings
from devstack import delivery
from devstack.delivery import DeliveryServer
from devstack.service import clean_environment
from tests.integration.delivery.ceremonies import ControlPlane
from tests.integration.delivery.conftest import Pki, job_signing_key


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "mpc-delivery.toml"


def call(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--config", str(config), *words])


def init(config: Path, pki: Pki, control_plane: ControlPlane, *more: str) -> Result:
    leaf = pki.server()
    key = job_signing_key(control_plane)
    files = ["--certificate", leaf.certificate, "--private-key", leaf.private_key]
    words = ["init", "--name", "delivery-1", "--job-signing-key", key, *map(str, files)]
    return call(config, *words, "--client-ca", str(leaf.ca), "--port", "0", *more)


def test_what_init_writes_is_what_it_would_be_by_default(
    config: Path, pki: Pki, control_plane: ControlPlane
):
    result = init(config, pki, control_plane)
    assert result.exit_code == 0, result.output
    assert config.stat().st_mode & 0o777 == 0o600
    settings = load_settings(config)
    defaults = Settings(server=settings.server, tickets=settings.tickets)
    assert settings.model_dump() == defaults.model_dump()


def test_init_overwrites_nothing(config: Path, pki: Pki, control_plane: ControlPlane):
    config.write_text("precious")
    result = init(config, pki, control_plane)
    assert result.exit_code == 1
    assert "exists already" in result.output
    assert config.read_text() == "precious"


@pytest.mark.parametrize("more", [("--job-signing-key", "no key"), ("--name", "")])
def test_init_writes_nothing_that_could_not_be_used(
    config: Path, pki: Pki, control_plane: ControlPlane, more: tuple[str, str]
):
    assert init(config, pki, control_plane, *more).exit_code == 1
    assert not config.exists()


def test_doctor_finds_all_well(config: Path, pki: Pki, control_plane: ControlPlane):
    init(config, pki, control_plane)
    result = call(config, "doctor", "--json")
    assert result.exit_code == 0, result.output
    found = {each["name"]: each["status"] for each in json.loads(result.stdout)}
    assert found == {
        "certificate server": "ok",
        "job-signing keys": "ok",
        "port": "ok",
        "clock": "warn",  # no server runs here that signers tell their time
    }


def test_doctor_says_what_is_to_be_corrected(config: Path, pki: Pki, control_plane: ControlPlane):
    init(config, pki, control_plane, "--private-key", str(pki.node("signer-1").private_key))
    config.write_text(config.read_text().replace(job_signing_key(control_plane), "bm8ga2V5"))
    result = call(config, "doctor")
    assert result.exit_code == 1
    assert "does not belong to the certificate" in result.output
    assert "not an Ed25519 public key" in result.output


@pytest.mark.parametrize(
    ("line", "replacement", "fault"),
    [
        ("message_bytes = 524288", "message_bytes = 999999999", "message_bytes must not exceed"),
        ("message_bytes = 524288", "message_byte = 1", "message_byte"),
        ("total_sessions = 16384", "total_sessions = 0", "total_sessions"),
    ],
)
def test_limits_that_cannot_hold_are_refused(
    config: Path, pki: Pki, control_plane: ControlPlane, line: str, replacement: str, fault: str
):
    init(config, pki, control_plane)
    config.write_text(config.read_text().replace(line, replacement))
    result = call(config, "doctor")
    assert result.exit_code == 1
    assert fault in result.output


def test_doctor_refuses_a_nodes_certificate(config: Path, pki: Pki, control_plane: ControlPlane):
    node = pki.node("signer-1")
    init(config, pki, control_plane, "--certificate", str(node.certificate))
    result = call(config, "doctor")
    assert result.exit_code == 1
    assert "not a certificate for a server" in result.output


def test_systemd_hears_that_a_process_works_and_stops(
    process: DeliveryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    address = str(tmp_path / "notify")
    environment = clean_environment(NOTIFY_SOCKET=address, WATCHDOG_USEC="3000000")
    monkeypatch.setattr(delivery, "clean_environment", lambda: environment)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        process.start()
        process.stop()
        receiver.setblocking(False)
        said = []
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(receiver.recv(100))
    assert (said[0], said[-1]) == (b"READY=1", b"STOPPING=1")
    assert b"WATCHDOG=1" in said
