"""The TLS files that each `init` names are those that `pki install` writes."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from custody.control_plane import cli as control_plane
from custody.control_plane.settings import load_settings as control_plane_settings
from custody.delivery import cli as delivery
from custody.delivery.settings import load_settings as delivery_settings
from custody.pki.host_commands import DEFAULT_FOLDER
from custody.pki.host_files import CA, CERTIFICATE, CRL, PRIVATE_KEY
from custody.runtime.configuration import read_settings
from custody.runtime.tls import TlsFiles
from custody.wire.algorithms import EDDSA_ED25519
from hsm_driver import cli as driver
from hsm_driver.settings import DriverSettings
from mpc import cli as signer
from mpc.settings import SignerSettings
from tests.made_up_keys import made_up_key

KEY = base64.b64encode(made_up_key(EDDSA_ED25519)).decode()


def of_control_plane(config: Path) -> Sequence[TlsFiles]:
    return [control_plane_settings(config).node_api.tls]


def of_delivery(config: Path) -> Sequence[TlsFiles]:
    return [delivery_settings(config).server.tls]


def of_driver(config: Path) -> Sequence[TlsFiles]:
    return read_settings(config, DriverSettings).tls


def of_signer(config: Path) -> Sequence[TlsFiles]:
    return read_settings(config, SignerSettings).tls


PROGRAMS: dict[str, tuple[Any, Any, list[str], int]] = {
    "control-plane": (control_plane.app, of_control_plane, [], 1),
    "mpc-delivery": (delivery.app, of_delivery, ["--name", "d", "--job-signing-key", KEY], 1),
    "hsm-driver": (
        driver.app,
        of_driver,
        ["--node", "n", "--module", "/m.so", "--token-label", "t", "--job-signing-key", KEY],
        1,
    ),
    "mpc-signer": (
        signer.app,
        of_signer,
        ["--node", "n", "--delivery", "d=https://d:1", "--job-signing-key", KEY],
        2,
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("crl", [None, DEFAULT_FOLDER / CRL])
def test_init_names_what_pki_install_writes(program: str, crl: Path | None, tmp_path: Path):
    app, tls_of, options, uses = PROGRAMS[program]
    config = tmp_path / "config.toml"
    named = [] if crl is None else ["--crl", str(crl)]
    done = CliRunner().invoke(app, ["--config", str(config), "init", *options, *named])
    assert done.exit_code == 0, done.output
    folder = tmp_path / DEFAULT_FOLDER
    found = tls_of(config)
    assert len(found) == uses
    for files in found:
        assert (files.certificate, files.private_key) == (
            folder / CERTIFICATE,
            folder / PRIVATE_KEY,
        )
        assert files.ca == folder / CA
        assert files.crl == (None if crl is None else folder / CRL)


def test_the_control_planes_database_url_can_be_in_a_file(tmp_path: Path):
    config = tmp_path / "control-plane.toml"
    (tmp_path / "database-url").write_text("postgresql://me:secret@localhost/control_plane\n")
    (tmp_path / "database-url").chmod(0o600)
    words = ["--config", str(config), "init", "--database-url-file", "database-url"]
    done = CliRunner().invoke(control_plane.app, words)
    assert done.exit_code == 0, done.output
    assert "secret@" in control_plane_settings(config).database.read_url()
