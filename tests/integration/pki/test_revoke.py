"""pki revoke and pki crl: on record first, then in a list that OpenSSL and our own check heed."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from custody.pki.cli import application
from custody.pki.records import Records
from custody.runtime.revocation import (
    CertificateRevoked,
    RevocationUnknown,
    check_chain,
    load_crls,
)
from custody.runtime.tls import load_certificates
from tests.integration.pki.conftest import Pki


def check(folder: Path, name: str) -> None:
    chain = load_certificates(folder / f"nodes/{name}/certificate.pem")
    root = load_certificates(folder / f"nodes/{name}/ca.pem")
    check_chain([*chain, *root], load_crls(folder / "crl.pem"), datetime.now(UTC))


def show(*words: object) -> tuple[int, list[dict]]:
    result = CliRunner().invoke(application, ["show", *map(str, words), "--json"])
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def nodes(pki: Pki, authorities: Path) -> Path:
    """Two nodes, and a CRL that lists nobody."""
    pki("issue", "node", "good")
    pki("issue", "node", "stolen")
    pki("crl")
    return authorities


def test_a_revoked_node_is_refused_once_the_list_is_out(pki: Pki, nodes: Path):
    pki("revoke", "stolen", "--reason", "keyCompromise")
    check(nodes, "stolen")
    pki("crl")
    with pytest.raises(CertificateRevoked, match="keyCompromise"):
        check(nodes, "stolen")
    check(nodes, "good")


def test_show_and_list_tell_of_it(pki: Pki, nodes: Path):
    pki("revoke", str(nodes / "nodes/stolen/certificate.pem"))
    pki("crl")
    crl = ("--crl", nodes / "crl.pem")
    code, (leaf, _) = show(nodes / "nodes/stolen/certificate.pem", *crl)
    assert (code, leaf["revocation"]) == (1, "revoked")
    code, (leaf, _) = show(nodes / "nodes/good/certificate.pem", *crl)
    assert (code, leaf["revocation"], leaf["problems"]) == (0, "good", [])
    assert show(nodes / "nodes/good/certificate.pem", *crl, "--days", 91)[0] == 1
    code, (shown,) = show(nodes / "crl.pem")
    assert (code, len(shown["revoked"])) == (0, 1)
    listed = json.loads(pki("list", "--all", "--json").stdout)
    assert {each["name"]: each["state"] for each in listed} == {
        "good": "valid",
        "stolen": "revoked",
    }
    assert "stolen" not in pki("list").output


def test_a_name_with_two_certificates_needs_the_serial(pki: Pki, nodes: Path):
    (nodes / "nodes/stolen").rename(nodes / "stolen.old")
    pki("issue", "node", "stolen")
    pki("revoke", "stolen", fails_with="has 2 valid certificates")
    old = load_certificates(nodes / "stolen.old/certificate.pem")[0].serial_number
    pki("revoke", f"{old:x}")
    pki("crl")
    check(nodes, "stolen")
    pki("revoke", "nobody", fails_with="no valid certificate 'nobody'")


def test_the_root_takes_an_intermediate_back(pki: Pki, nodes: Path):
    pki("crl", "--root")
    check(nodes, "good")
    pki("revoke", str(nodes / "intermediate/certificate.pem"), "--root")
    pki("crl", "--root")
    with pytest.raises(CertificateRevoked, match="intermediate"):
        check(nodes, "good")


def test_the_list_of_an_offline_root_is_added(pki: Pki, nodes: Path, tmp_path: Path):
    offline = tmp_path / "offline"
    offline.mkdir()
    (nodes / "root").rename(offline / "root")
    result = CliRunner().invoke(application, ["crl", "--root", "--dir", str(offline)])
    assert result.exit_code == 0, result.output
    pki("crl", "--add", str(offline / "crl.pem"))
    assert len(load_crls(nodes / "crl.pem")) == 2
    pki("crl")
    assert len(load_crls(nodes / "crl.pem")) == 2
    check(nodes, "good")
    pki("crl", "--add", str(nodes / "crl.pem"), fails_with="not of this PKI's root")


def test_numbers_rise_and_a_restored_index_forgets_no_revocation(pki: Pki, nodes: Path):
    before = (nodes / "intermediate/index.json").read_bytes()
    pki("revoke", "stolen")
    pki("crl")
    (first,) = load_crls(nodes / "crl.pem")
    (nodes / "intermediate/index.json").write_bytes(before)
    pki("crl")
    (second,) = load_crls(nodes / "crl.pem")
    assert second.number > first.number
    assert second.revoked == first.revoked != {}


def test_a_damaged_index_stops_everything(pki: Pki, nodes: Path):
    (nodes / "intermediate/index.json").write_text("{")
    for words in (("list",), ("crl",), ("revoke", "good"), ("issue", "node", "third")):
        pki(*words, fails_with="index.json is damaged")


def test_revoking_again_changes_nothing(pki: Pki, nodes: Path):
    serial = Records(nodes / "intermediate").read().certificates[0].serial
    pki("revoke", serial, "--reason", "superseded")
    once = Records(nodes / "intermediate").read()
    pki("revoke", serial, "--reason", "keyCompromise")
    assert Records(nodes / "intermediate").read() == once


def test_a_host_takes_no_older_list_and_none_of_strangers(pki: Pki, nodes: Path, tmp_path: Path):
    tls = nodes / "nodes/good"

    def install(file: Path) -> tuple[int, str]:
        words = ["install", "--crl", str(file), "--folder", str(tls)]
        result = CliRunner().invoke(application, words)
        return result.exit_code, result.output

    old = tmp_path / "old.pem"
    old.write_bytes((nodes / "crl.pem").read_bytes())
    pki("crl")
    assert install(nodes / "crl.pem")[0] == 0
    code, output = install(old)
    assert code == 1
    assert "an older one lets revoked certificates in" in output
    stranger = tmp_path / "stranger"
    for words in (["root", "--unencrypted"], ["intermediate", "--unencrypted"], ["crl"]):
        assert CliRunner().invoke(application, [*words, "--dir", str(stranger)]).exit_code == 0
    code, output = install(stranger / "crl.pem")
    assert code == 1
    assert "no authority of this host has signed" in output
    both = tmp_path / "both.pem"
    both.write_bytes((stranger / "crl.pem").read_bytes() + (nodes / "crl.pem").read_bytes())
    assert install(both)[0] == 0


def test_without_a_list_of_the_issuer_nobody_is_accepted(pki: Pki, authorities: Path):
    pki("issue", "node", "good")
    pki("crl", "--root")
    with pytest.raises(RevocationUnknown):
        check(authorities, "good")
