"""hsm-driver init: what it leaves on disk."""

import base64
import os
import stat
from pathlib import Path

from typer.testing import CliRunner

from custody.wire.algorithms import EDDSA_ED25519
from hsm_driver.cli import app
from tests.made_up_keys import made_up_key


def test_the_files_are_their_owners_alone_whatever_the_umask(tmp_path: Path):
    """The configuration may come to hold a database URL with its password."""
    config = tmp_path / "hsm-driver.toml"
    arguments = ["--config", str(config), "init", "--node", "zurich-1", "--module", "/lib/hsm.so"]
    arguments += ["--token-label", "custody"]
    arguments += ["--job-signing-key", base64.b64encode(made_up_key(EDDSA_ED25519)).decode()]
    old = os.umask(0)
    try:
        done = CliRunner().invoke(app, arguments)
    finally:
        os.umask(old)
    assert done.exit_code == 0, done.output
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes[config.name] == 0o600
    assert set(modes.values()) == {0o600}


def test_an_existing_configuration_is_kept(tmp_path: Path):
    config = tmp_path / "hsm-driver.toml"
    config.write_text("mine")
    arguments = ["--config", str(config), "init", "--node", "zurich-1", "--module", "/lib/hsm.so"]
    arguments += ["--token-label", "custody"]
    arguments += ["--job-signing-key", base64.b64encode(made_up_key(EDDSA_ED25519)).decode()]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert config.read_text() == "mine"
