"""The authorities' keys: encrypted with a passphrase, or in a token (SoftHSM)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from custody.pki.cli import application
from custody.runtime.revocation import load_crls
from custody.runtime.tls import load_certificates
from softhsm.tokens import TokenFolder, find_module
from tests.integration.pki.conftest import Pki


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text("correct horse\n")
    file.chmod(0o600)
    return file


def asked(folder: Path, answers: str, *words: str) -> Result:
    """Run a command that asks, as on a terminal."""
    return CliRunner().invoke(application, [*words, "--dir", str(folder)], input=answers)


def test_a_key_is_encrypted_and_opens_with_its_passphrase(pki: Pki, folder: Path, passphrase: Path):
    pki("root", "--unencrypted")
    assert asked(folder, "correct horse\ncorrect horse\n", "intermediate").exit_code == 0
    pem = (folder / "intermediate/private_key.pem").read_bytes()
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    wrong = asked(folder, "wrong\n", "issue", "node", "zurich-1")
    assert wrong.exit_code == 1
    assert "the passphrase does not open" in wrong.output
    assert not (folder / "nodes").exists()
    pki("issue", "node", "zurich-1", "--passphrase-file", str(passphrase))
    assert asked(folder, "correct horse\n", "crl").exit_code == 0
    openssl = ["openssl", "pkey", "-passin", f"file:{passphrase}", "-noout", "-check"]
    assert subprocess.run(openssl, input=pem, check=False, capture_output=True).returncode == 0


def test_without_a_passphrase_no_key_is_made(folder: Path):
    result = asked(folder, "", "root")
    assert result.exit_code == 1
    assert "no passphrase was given" in result.output
    assert not folder.exists()


def without_terminal(folder: Path, *words: str) -> str:
    """Return what a command that lacks a secret says without a terminal, as in a timer."""
    program = "from custody.pki.cli import application; application()"
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--dir", folder],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Warning" not in done.stderr
    return done.stderr


def test_without_a_terminal_the_error_names_the_option(pki: Pki, folder: Path, passphrase: Path):
    assert "--passphrase-file FILE" in without_terminal(folder, "root")
    pki("root", "--passphrase-file", str(passphrase))
    assert "--root-passphrase-file FILE" in without_terminal(folder, "intermediate")
    assert " --passphrase-file FILE" in without_terminal(folder, "crl", "--root")


def test_a_key_in_a_token_signs_there(
    pki: Pki, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tokens = TokenFolder(tmp_path / "softhsm")
    pin_file = tokens.make("custody-ca")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tokens.configuration))
    pin = ("--pin-file", str(pin_file))
    pki("root", "--unencrypted")
    pki("intermediate", "--module", str(find_module()), "--token", "custody-ca", *pin)
    assert not (folder / "intermediate/private_key.pem").exists()
    pki("issue", "node", "zurich-1", *pin)
    leaf, issuer = load_certificates(folder / "nodes/zurich-1/certificate.pem")
    leaf.verify_directly_issued_by(issuer)
    pki("crl", *pin)
    (crl,) = load_crls(folder / "crl.pem")
    assert crl.is_signed_by(issuer)

    asked_for_pin = without_terminal(folder, "crl")
    assert "no user PIN was given for the token custody-ca" in asked_for_pin
    assert "--pin-file FILE" in asked_for_pin

    place = folder / "intermediate/token.json"
    named = json.loads(place.read_text())
    place.write_text(json.dumps({**named, "key_id": "00"}))
    pki("crl", *pin, fails_with="has 0 private keys with the id 00")
    place.write_text(json.dumps({**named, "token_label": "other"}))
    pki("crl", *pin, fails_with="no token 'other'")
    wrong = tmp_path / "wrong"
    wrong.write_text("0000\n")
    wrong.chmod(0o600)
    place.write_text(json.dumps(named))
    pki("crl", "--pin-file", str(wrong), fails_with="refuses the PIN")
