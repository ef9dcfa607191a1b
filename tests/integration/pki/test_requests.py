"""Keys that never travel: pki csr and install on the host, pki sign at the authority."""

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from custody.pki.certificates import issue_node, issue_root, new_private_key
from custody.pki.cli import application
from custody.pki.directory import Directory
from custody.pki.host_files import HostFiles
from custody.pki.names import node_names
from custody.pki.records import Records, record_of
from custody.pki.requests import make_request
from custody.runtime.tls import client_context, load_certificates
from tests.integration.pki.conftest import Pki

REQUEST = "pending/request.pem"


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """The folder of a daemon's certificate on its host."""
    return tmp_path / "tls"


def on_host(tls: Path, *words: object, fails_with: str | None = None) -> Result:
    result = CliRunner().invoke(application, [*map(str, words), "--folder", str(tls)])
    if fails_with is None:
        assert result.exit_code == 0, result.output
    else:
        assert result.exit_code == 1, result.output
        assert fails_with in result.output
    return result


def signed(pki: Pki, tls: Path, number: int = 1) -> Path:
    out = tls.parent / f"answer-{number}.pem"
    pki("sign", "node", "zurich-1", str(tls / REQUEST), "--out", str(out))
    return out


@pytest.fixture
def installed(pki: Pki, authorities: Path, tls: Path) -> Path:
    """A node's first certificate."""
    on_host(tls, "csr", "node", "zurich-1")
    on_host(tls, "install", signed(pki, tls), "--ca", authorities / "root/certificate.pem")
    return tls


def serial_in_use(tls: Path) -> int:
    """The serial of the certificate that TLS loads together with its key."""
    client_context(tls / "ca.pem", tls / "certificate.pem", tls / "private_key.pem")
    return load_certificates(tls / "certificate.pem")[0].serial_number


def test_a_node_gets_its_certificate_and_only_the_host_has_the_key(installed: Path, folder: Path):
    assert serial_in_use(installed)
    assert (installed / "private_key.pem").stat().st_mode & 0o777 == 0o600
    assert not (installed / "pending").exists()
    keys = {path.parent.name for path in folder.rglob("private_key.pem")}
    assert keys == {"root", "intermediate"}


def test_a_renewal_exchanges_the_pair_and_keeps_the_last_one(pki: Pki, installed: Path):
    first, first_key = serial_in_use(installed), (installed / "private_key.pem").read_bytes()
    on_host(installed, "renew")
    assert serial_in_use(installed) == first
    on_host(installed, "install", signed(pki, installed, 2))
    second = serial_in_use(installed)
    assert second != first
    assert (installed / "private_key.pem").read_bytes() != first_key
    on_host(installed, "renew", "--same-key")
    key = (installed / "private_key.pem").read_bytes()
    on_host(installed, "install", signed(pki, installed, 3))
    assert (installed / "private_key.pem").read_bytes() == key
    kept = {path.name for path in (installed / "versions").iterdir()}
    assert kept == {f"{second:x}", f"{serial_in_use(installed):x}"}


def test_the_line_that_renew_prints_for_the_authority_runs_beside_the_last_certificate(
    pki: Pki, installed: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(installed.parent)
    Path("zurich-1.certificate.pem").write_text("of the last signing")
    said = " ".join(on_host(installed, "renew").output.split())
    _, _, line = said.partition("there: pki ")
    Path("request.pem").write_bytes((installed / REQUEST).read_bytes())
    pki(*line.split())
    [made] = Path().glob("zurich-1.2*.pem")
    on_host(installed, "install", made)


def test_plain_files_become_the_first_version(pki: Pki, authorities: Path):
    pki("issue", "node", "zurich-1")
    tls = authorities / "nodes/zurich-1"
    first = serial_in_use(tls)
    on_host(tls, "renew")
    on_host(tls, "install", signed(pki, tls))
    assert serial_in_use(tls) != first
    assert (tls / "versions" / f"{first:x}" / "private_key.pem").exists()


def test_a_kill_between_any_two_steps_leaves_a_usable_pair(
    pki: Pki, authorities: Path, monkeypatch: pytest.MonkeyPatch
):
    """Install from plain files, stopped after each rename in turn; then once more to the end."""
    pki("issue", "node", "zurich-1")
    tls = authorities / "nodes/zurich-1"
    first = serial_in_use(tls)
    on_host(tls, "renew")
    chain = load_certificates(signed(pki, tls))

    class Killed(BaseException):
        pass

    for last in range(20):
        done = 0

        def counted(change: Callable[..., Any], last: int = last) -> Callable[..., Any]:
            def run(*words: Any, **options: Any) -> Any:
                nonlocal done
                done += 1
                if done > last:
                    raise Killed
                return change(*words, **options)

            return run

        with monkeypatch.context() as patched:
            for name in ("rename", "replace", "symlink_to"):
                patched.setattr(Path, name, counted(getattr(Path, name)))
            try:
                HostFiles(tls).install(chain)
            except Killed:
                assert serial_in_use(tls) in (first, chain[0].serial_number)
                continue
        break
    else:
        pytest.fail("the installation never ended")
    assert last >= 5
    assert serial_in_use(tls) == chain[0].serial_number
    assert not (tls / "pending").exists()


def test_nothing_is_overwritten_on_the_host(pki: Pki, installed: Path):
    on_host(installed, "csr", "node", "zurich-1", fails_with="has a certificate or a key already")
    on_host(installed, "renew")
    before = (installed / REQUEST).read_bytes()
    on_host(installed, "renew", fails_with="waits for its certificate")
    assert (installed / REQUEST).read_bytes() == before


def test_an_answer_for_something_else_is_not_installed(
    pki: Pki, authorities: Path, installed: Path, tmp_path: Path
):
    other = tmp_path / "other"
    on_host(other, "csr", "node", "zurich-2")
    pki("sign", "node", "zurich-2", str(other / REQUEST), "--out", str(tmp_path / "other.pem"))
    before = serial_in_use(installed)
    on_host(installed, "install", tmp_path / "other.pem", fails_with="is not for the names")
    on_host(installed, "renew")
    answer = signed(pki, installed, 2)
    leaf = load_certificates(answer)[0].public_bytes(Encoding.PEM)
    answer.write_bytes(leaf)
    on_host(installed, "install", answer, fails_with="peers would refuse")
    foreign_key = new_private_key()
    issuer = Directory(authorities).intermediate()
    foreign = issue_node("zurich-1", foreign_key.public_key(), issuer, 1)
    answer.write_bytes(
        foreign.public_bytes(Encoding.PEM) + issuer.certificate.public_bytes(Encoding.PEM)
    )
    on_host(installed, "install", answer, fails_with="neither pending nor in use")
    assert serial_in_use(installed) == before


def test_roots_are_exchanged_in_two_steps(installed: Path, tmp_path: Path):
    key = new_private_key()
    new = issue_root("new root", key, 10).public_bytes(Encoding.PEM)
    both, only = tmp_path / "both.pem", tmp_path / "only.pem"
    both.write_bytes((installed / "ca.pem").read_bytes() + new)
    only.write_bytes(new)
    on_host(installed, "install", "--ca", only, fails_with="own certificate would be refused")
    on_host(installed, "install", "--ca", both)
    assert len(load_certificates(installed / "ca.pem")) == 2


def csr(tmp_path: Path, *names: str, key: str = "ec:P-256", digest: str = "sha256") -> str:
    """A request by openssl, as a person without pki makes it."""
    kind, _, parameter = key.partition(":")
    option = f"ec_paramgen_curve:{parameter}" if kind == "ec" else f"rsa_keygen_bits:{parameter}"
    file = tmp_path / "openssl.csr"
    command = ["openssl", "req", "-new", "-nodes", "-newkey", kind, "-pkeyopt", option]
    command += ["-keyout", "/dev/null", "-subj", "/CN=root", f"-{digest}", "-out", str(file)]
    command += ["-addext", "basicConstraints=critical,CA:TRUE"]
    if names:
        command += ["-addext", f"subjectAltName={','.join(names)}"]
    subprocess.run(command, check=True, capture_output=True)
    return str(file)


URI = "URI:urn:custody:node:zurich-1"


def test_a_request_of_openssl_gets_a_leaf_and_nothing_else(
    pki: Pki, authorities: Path, tmp_path: Path
):
    out = tmp_path / "answer.pem"
    pki("sign", "node", "zurich-1", csr(tmp_path, URI), "--out", str(out))
    leaf, issuer = load_certificates(out)
    assert leaf.subject.rfc4514_string() == "CN=zurich-1"
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert [issuer] == load_certificates(authorities / "intermediate/certificate.pem")


@pytest.mark.parametrize(
    ("names", "options", "why"),
    [
        ([], {}, "it is for no name"),
        (["URI:urn:custody:node:zurich-2"], {}, "and not for"),
        ([URI, "URI:urn:custody:node:zurich-2"], {}, "and not for"),
        ([URI, "DNS:zurich-1"], {}, "and not for"),
        ([URI], {"key": "ec:P-384"}, "is not a P-256 key"),
        ([URI], {"key": "rsa:2048"}, "is not a P-256 key"),
        ([URI], {"digest": "sha384"}, "not signed with ECDSA and SHA-256"),
    ],
)
def test_any_other_request_is_refused(
    pki: Pki, authorities: Path, tmp_path: Path, names: list[str], options: dict, why: str
):
    pki("sign", "node", "zurich-1", csr(tmp_path, *names, **options), fails_with=why)
    assert not (authorities / "intermediate/index.json").exists()


def test_a_request_without_proof_of_possession_is_refused(
    pki: Pki, authorities: Path, tmp_path: Path
):
    made = make_request("zurich-1", node_names("zurich-1"), new_private_key())
    damaged = bytearray(made.public_bytes(Encoding.DER))
    damaged[-1] ^= 1
    file = tmp_path / "request.pem"
    request = x509.load_der_x509_csr(bytes(damaged))
    file.write_bytes(request.public_bytes(Encoding.PEM))
    pki("sign", "node", "zurich-1", str(file), fails_with="does not prove possession")
    file.write_text("hello")
    pki("sign", "node", "zurich-1", str(file), fails_with="contains no PEM certificate request")


def test_a_key_belongs_to_one_name_and_not_after_a_compromise(
    pki: Pki, authorities: Path, tmp_path: Path
):
    key = new_private_key()
    for name in ("zurich-1", "zurich-2"):
        pem = make_request(name, node_names(name), key).public_bytes(Encoding.PEM)
        (tmp_path / name).write_bytes(pem)
    pki("sign", "node", "zurich-1", str(tmp_path / "zurich-1"))
    pki("sign", "node", "zurich-2", str(tmp_path / "zurich-2"), fails_with="belongs to zurich-1")
    pki("revoke", "zurich-1", "--reason", "keyCompromise")
    again = ("sign", "node", "zurich-1", str(tmp_path / "zurich-1"))
    pki(*again, "--out", str(tmp_path / "again.pem"), fails_with="revoked as compromised")


def test_a_server_gets_exactly_the_names_that_the_operator_states(
    pki: Pki, authorities: Path, tls: Path
):
    on_host(tls, "csr", "server", "api", "--dns", "api.example.org", "--ip", "10.0.0.5")
    sign = ("sign", "server", "api", str(tls / REQUEST))
    pki(*sign, "--dns", "api.example.org", fails_with="and not for")
    pki(*sign, "--ip", "10.0.0.5", "--dns", "api.example.org")
    answer = tls / "pending/api.certificate.pem"
    pki(*sign, "--ip", "10.0.0.5", "--dns", "api.example.org", fails_with="never overwrites")
    on_host(tls, "install", answer, "--ca", authorities / "root/certificate.pem")
    on_host(tls, "install", fails_with="nothing to install")
    text = on_host(tls, "renew").output
    assert "pki sign server api --dns api.example.org --ip 10.0.0.5 --out api.2" in text


def test_two_commands_at_once_record_both_certificates(authorities: Path):
    records = Records(authorities / "intermediate")
    issuer = Directory(authorities).intermediate()

    def run(number: int) -> None:
        leaf = issue_node(f"n-{number}", new_private_key().public_key(), issuer, 1)
        with records.changing() as index:
            index.certificates.append(record_of(leaf))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(16)))
    assert {each.name for each in records.read().certificates} == {f"n-{n}" for n in range(16)}


def test_as_root_the_new_files_belong_to_the_daemons_user(pki: Pki, installed: Path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    on_host(installed, "renew")
    for path in (installed / "pending").iterdir():
        os.chown(path, 12345, 12345)
    on_host(installed, "install", signed(pki, installed, 2))
    version = (installed / "certificate.pem").resolve().parent
    assert {each.stat().st_uid for each in (version, *version.iterdir())} == {12345}
