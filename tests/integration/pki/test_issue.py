"""What pki makes: certificates that OpenSSL and strict TLS accept, and files only we may read."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from custody.pki.records import Records
from custody.runtime.tls import load_certificates
from tests.integration.pki.conftest import Pki


def openssl_verifies(folder: Path, leaf: Path, purpose: str) -> bool:
    root = folder / "root/certificate.pem"
    intermediate = folder / "intermediate/certificate.pem"
    command: list[str | Path] = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-CAfile",
        root,
    ]
    done = subprocess.run([*command, "-untrusted", intermediate, leaf], capture_output=True)
    return done.returncode == 0


def test_openssl_accepts_a_node_as_client_only(pki: Pki, authorities: Path):
    pki("issue", "node", "driver-1")
    leaf = authorities / "nodes/driver-1/certificate.pem"
    assert openssl_verifies(authorities, leaf, "sslclient")
    assert not openssl_verifies(authorities, leaf, "sslserver")


def test_openssl_accepts_a_server_as_server_only(pki: Pki, authorities: Path):
    pki("issue", "server", "api", "--dns", "api.example.org", "--ip", "127.0.0.1")
    leaf = authorities / "servers/api/certificate.pem"
    assert openssl_verifies(authorities, leaf, "sslserver")
    assert not openssl_verifies(authorities, leaf, "sslclient")


def test_a_leafs_folder_is_all_that_its_host_needs(pki: Pki, authorities: Path):
    pki("issue", "node", "driver-1")
    home = authorities / "nodes/driver-1"
    assert sorted(file.name for file in home.iterdir()) == [
        "ca.pem",
        "certificate.pem",
        "private_key.pem",
    ]
    root = load_certificates(authorities / "root/certificate.pem")
    intermediate = load_certificates(authorities / "intermediate/certificate.pem")
    assert load_certificates(home / "ca.pem") == root
    assert load_certificates(home / "certificate.pem")[1:] == intermediate


def test_private_keys_are_readable_by_their_owner_alone(pki: Pki, authorities: Path):
    pki("issue", "node", "driver-1")
    keys = list(authorities.rglob("private_key.pem"))
    assert len(keys) == 3
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


def test_a_nodes_identity_is_its_san_uri(pki: Pki, authorities: Path):
    pki("issue", "node", "driver-1")
    leaf = load_certificates(authorities / "nodes/driver-1/certificate.pem")[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("urn:custody:node:driver-1")]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_authorities_are_bounded(authorities: Path):
    root = load_certificates(authorities / "root/certificate.pem")[0]
    intermediate = load_certificates(authorities / "intermediate/certificate.pem")[0]
    lengths = [
        certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        for certificate in (root, intermediate)
    ]
    assert lengths == [1, 0]


def test_lifetimes_are_those_asked_for_but_end_with_the_issuers(pki: Pki, authorities: Path):
    pki("issue", "node", "short", "--days", "2")
    pki("issue", "node", "long", "--days", "9999")
    short = load_certificates(authorities / "nodes/short/certificate.pem")[0]
    long, intermediate = load_certificates(authorities / "nodes/long/certificate.pem")
    left = short.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=1, hours=23) < left <= timedelta(days=2)
    assert short.not_valid_before_utc < datetime.now(UTC) - timedelta(minutes=4)
    assert long.not_valid_after_utc == intermediate.not_valid_after_utc


def test_every_leaf_is_on_record_beside_the_intermediate(pki: Pki, authorities: Path):
    pki("issue", "node", "driver-1")
    pki("issue", "node", "driver-2")
    leaves = [
        load_certificates(authorities / f"nodes/driver-{number}/certificate.pem")[0]
        for number in (1, 2)
    ]
    index = Records(authorities / "intermediate").read()
    found = [each.certificate.encode() for each in index.certificates]
    assert [x509.load_pem_x509_certificate(pem) for pem in found] == leaves
    assert leaves[0].serial_number != leaves[1].serial_number
    root_index = Records(authorities / "root").read()
    assert [each.kind for each in root_index.certificates] == ["intermediate"]


def test_records_of_earlier_versions_are_taken_over(pki: Pki, authorities: Path):
    pki("issue", "node", "driver-1")
    intermediate = authorities / "intermediate"
    leaf = Records(intermediate).read().certificates[0]
    (intermediate / "index.json").unlink()
    (intermediate / "issued").mkdir()
    (intermediate / "issued" / f"{leaf.serial}.pem").write_text(leaf.certificate)
    pki("issue", "node", "driver-2")
    assert [each.name for each in Records(intermediate).read().certificates] == [
        "driver-1",
        "driver-2",
    ]


def test_name_constraints_hold(pki: Pki, folder: Path):
    pki("root", "--unencrypted")
    pki("intermediate", "--unencrypted", "--permit-dns", "example.org", "--permit-ip", "10.0.0.0/8")
    pki("issue", "server", "inside", "--dns", "api.example.org", "--ip", "10.1.2.3")
    pki("issue", "server", "elsewhere", "--dns", "api.example.com")
    pki("issue", "node", "driver-1")
    assert openssl_verifies(folder, folder / "servers/inside/certificate.pem", "sslserver")
    assert not openssl_verifies(folder, folder / "servers/elsewhere/certificate.pem", "sslserver")
    assert openssl_verifies(folder, folder / "nodes/driver-1/certificate.pem", "sslclient")


def test_leaves_are_issued_without_the_roots_key(pki: Pki, authorities: Path):
    (authorities / "root/private_key.pem").unlink()
    pki("issue", "node", "driver-1")


def test_leaves_are_issued_while_the_roots_folder_is_offline(
    pki: Pki, authorities: Path, tmp_path: Path
):
    root = (authorities / "root/certificate.pem").read_bytes()
    (authorities / "root").rename(tmp_path / "safe")
    pki("issue", "node", "driver-1")
    assert (authorities / "nodes/driver-1/ca.pem").read_bytes() == root
    (authorities / "intermediate").rename(tmp_path / "lost")
    pki("intermediate", "--unencrypted", fails_with="Bring the root")


def test_a_missing_root_is_named_with_the_place_for_it(pki: Pki, authorities: Path, tmp_path: Path):
    (authorities / "root").rename(tmp_path / "safe")
    (authorities / "intermediate/ca.pem").unlink()
    pki("issue", "node", "driver-1", fails_with="exists, and each leaf needs")
    assert not (authorities / "intermediate/index.json").exists()


def test_no_leaf_gets_a_root_that_is_not_its_own(pki: Pki, authorities: Path, tmp_path: Path):
    (authorities / "root").rename(tmp_path / "safe")
    pki("root", "--unencrypted")
    pki("issue", "node", "driver-1", fails_with="has not issued the intermediate")
    assert not (authorities / "nodes").exists()


def test_an_intermediate_needs_the_roots_private_key(pki: Pki, authorities: Path, tmp_path: Path):
    (authorities / "root/private_key.pem").rename(tmp_path / "safe")
    (authorities / "intermediate").rename(tmp_path / "lost")
    pki("intermediate", "--unencrypted", fails_with="private_key.pem is not there")


@pytest.mark.parametrize(
    "words",
    [
        ("root", "--unencrypted"),
        ("intermediate", "--unencrypted"),
        ("issue", "node", "driver-1"),
        ("issue", "server", "api", "--dns", "a.b"),
    ],
)
def test_nothing_is_ever_overwritten(pki: Pki, authorities: Path, words: tuple[str, ...]):
    pki("issue", "node", "driver-1")
    pki("issue", "server", "api", "--dns", "a.b")
    before = {file: file.read_bytes() for file in authorities.rglob("*.pem")}
    pki(*words, fails_with="pki never overwrites a folder")
    assert {file: file.read_bytes() for file in authorities.rglob("*.pem")} == before


def test_a_key_that_others_may_read_is_not_used(pki: Pki, authorities: Path):
    (authorities / "intermediate/private_key.pem").chmod(0o640)
    pki("issue", "node", "driver-1", fails_with="may be read by other users")


def test_a_key_that_is_not_the_certificates_is_not_used(pki: Pki, authorities: Path):
    root_key = (authorities / "root/private_key.pem").read_bytes()
    (authorities / "intermediate/private_key.pem").write_bytes(root_key)
    pki("issue", "node", "driver-1", fails_with="not the key of the certificate")


@pytest.mark.parametrize("node_id", ["../etc", "Driver", "a/b", "", "x" * 64, "driver-1\n"])
def test_an_id_that_is_none_is_refused(pki: Pki, authorities: Path, node_id: str):
    pki("issue", "node", node_id, fails_with="is not a node id")
    assert not (authorities / "nodes").exists()


def test_a_server_needs_a_name(pki: Pki, authorities: Path):
    pki("issue", "server", "api", fails_with="needs a name or address")
    pki("issue", "server", "../api", "--dns", "a.b", fails_with="is not a folder name")
    pki("issue", "server", "api", "--ip", "1.2.3", fails_with="--ip")


def test_the_order_is_taught(pki: Pki):
    pki("intermediate", "--unencrypted", fails_with="first PKI: pki root")
    pki("issue", "node", "driver-1", fails_with="Make one with: pki intermediate")
