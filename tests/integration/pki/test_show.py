"""pki show: what a certificate says."""

import json
import re
from pathlib import Path

from typer.testing import CliRunner

from custody.pki.cli import application
from tests.integration.pki.conftest import Pki


def show(*words: object) -> str:
    result = CliRunner().invoke(application, ["show", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def test_json_names_identity_issuer_and_days_left(pki: Pki, authorities: Path):
    pki("issue", "node", "driver-1", "--days", "30")
    leaf, intermediate = json.loads(show(authorities / "nodes/driver-1/certificate.pem", "--json"))
    assert (leaf["kind"], leaf["identity"], leaf["days_left"]) == ("node", "driver-1", 29)
    assert leaf["issuer"] == intermediate["subject"] == "Custody intermediate CA"
    assert (intermediate["kind"], intermediate["identity"]) == ("intermediate", None)
    assert len(bytes.fromhex(leaf["sha256"])) == 32


def test_a_person_sees_the_same(pki: Pki, authorities: Path):
    pki("issue", "server", "api", "--dns", "api.example.org", "--ip", "::1")
    text = show(authorities / "servers/api/certificate.pem")
    assert "api.example.org, ::1" in text
    assert re.search(r"days left +89", text)
    assert "root" in show(authorities / "servers/api/ca.pem")


def test_a_file_of_something_else_is_an_error_that_says_so(tmp_path: Path):
    file = tmp_path / "certificate.pem"
    file.write_text("hello")
    result = CliRunner().invoke(application, ["show", str(file)])
    assert result.exit_code == 2
    assert "contains no PEM certificate, request, CRL or private key" in result.output
