"""What doctor says of a certificate that ends."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from custody.pki.description import describe
from custody.runtime.certificate_settings import CertificatesSection
from custody.runtime.checks import Status, certificate_checks
from custody.runtime.tls import TlsFiles, load_certificates


def certificate(folder: Path, left: timedelta) -> Path:
    """A certificate that ends when ``left`` is over."""
    key, name, ends = Ed25519PrivateKey.generate(), x509.Name([]), datetime.now(UTC) + left
    path = folder / "certificate.pem"
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=ends - timedelta(days=90),
        not_valid_after=ends,
    ).sign(key, None)
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("left", "status"),
    [
        (timedelta(days=15), Status.OK),
        (timedelta(days=13), Status.WARN),
        (timedelta(minutes=1), Status.WARN),
        (timedelta(minutes=-1), Status.FAIL),
    ],
)
def test_a_certificate_is_to_be_replaced_before_it_ends(
    tmp_path: Path, left: timedelta, status: Status
):
    files = TlsFiles("delivery-1", ca=certificate(tmp_path, left))
    [check] = certificate_checks([files], CertificatesSection(authority_days=14), "pki issue")
    assert check.status is status
    assert (check.todo is None) == (status is Status.OK)


def test_the_days_left_are_those_of_pki_show(tmp_path: Path):
    path = certificate(tmp_path, timedelta(days=80, hours=23))
    [check] = certificate_checks([TlsFiles("server", ca=path)], CertificatesSection(), "renew it")
    assert describe(load_certificates(path)[0]).days_left == 80
    assert "root 80" in check.detail
