"""mpc-signer init: what it leaves on disk, and what it prints."""

import base64
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from custody.runtime.configuration import read_settings
from custody.runtime.signing_key import load_signing_key
from custody.wire.algorithms import EDDSA_ED25519
from mpc.cli import app
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import load_key_file
from tests.made_up_keys import made_up_key

JOB_KEY = base64.b64encode(made_up_key(EDDSA_ED25519)).decode()


def init(config: Path, *more: str) -> Result:
    arguments = ["--config", str(config), "init", "--node", "zurich-1"]
    arguments += ["--job-signing-key", JOB_KEY, "--delivery", "delivery-1=https://delivery:8445"]
    return CliRunner().invoke(app, [*arguments, *more])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "mpc-signer.toml"


def test_the_files_are_their_owners_alone_whatever_the_umask(config: Path):
    old = os.umask(0)
    try:
        done = init(config)
    finally:
        os.umask(old)
    assert done.exit_code == 0, done.output
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in config.parent.iterdir()}
    assert set(modes) == {config.name, "identity.pem", "encryption.key"}
    assert set(modes.values()) == {0o600}


def test_it_prints_what_the_others_pin_and_no_secret(config: Path):
    done = init(config)
    identity = load_signing_key(config.parent / "identity.pem", "identity", "")
    public_key = base64.b64encode(identity.public_key).decode()
    assert f"mpc-signer peers add zurich-1 --identity {public_key}" in done.output
    assert load_key_file(config.parent / "encryption.key").id in done.output
    assert (config.parent / "encryption.key").read_text().strip() not in done.output


def test_the_configuration_is_one_that_the_signer_takes(config: Path):
    init(config, "--min-threshold", "3", "--delivery", "delivery-2=https://second:8445")
    settings = read_settings(config, SignerSettings)
    assert settings.node.group == "mpc"
    assert settings.quorum.min_threshold == 3
    assert settings.encryption.key_file == config.parent / "encryption.key"
    assert {each.name: each.url for each in settings.delivery} == {
        "delivery-1": "https://delivery:8445",
        "delivery-2": "https://second:8445",
    }


def test_with_a_token_no_key_file_is_made(config: Path):
    done = init(config, "--module", "/lib/hsm.so", "--token-label", "signer")
    assert done.exit_code == 0, done.output
    settings = read_settings(config, SignerSettings)
    assert settings.encryption.key == "hsm"
    assert settings.encryption.hsm is not None
    assert settings.encryption.hsm.token_label == "signer"
    assert not (config.parent / "encryption.key").exists()


@pytest.mark.parametrize("name", ["mpc-signer.toml", "identity.pem", "encryption.key"])
def test_nothing_that_is_there_is_overwritten(config: Path, name: str):
    (config.parent / name).write_text("mine")
    done = init(config)
    assert done.exit_code == 1
    assert "exists already" in done.output
    assert (config.parent / name).read_text() == "mine"


@pytest.mark.parametrize(
    "more",
    [
        ["--delivery", "https://delivery:8445"],
        ["--module", "/lib/hsm.so"],
        ["--token-label", "signer"],
        ["--node", "Zürich 1"],
        ["--url", "http://plain:8444"],
        ["--job-signing-key", "no key"],
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_written(config: Path, more: list[str]):
    done = init(config, *more)
    assert done.exit_code == 1
    assert not list(config.parent.iterdir())
