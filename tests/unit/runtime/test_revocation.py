"""What CRLs say about a chain: good, revoked or unknown, and unknown is refused."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from custody.pki import certificates
from custody.pki.certificates import Authority
from custody.runtime.errors import ConfigurationError
from custody.runtime.revocation import (
    CertificateRevoked,
    Crl,
    RevocationUnknown,
    RevokedSerial,
    Status,
    check_chain,
    earliest_end,
    from_list,
    load_crls,
    own_revocation,
    parse_crls,
    status_of,
)

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=1)


def root_of(name: str) -> Authority:
    key = certificates.new_private_key()
    return Authority(certificates.issue_root(name, key, 10), key)


def under(root: Authority, name: str = "intermediate") -> Authority:
    key = certificates.new_private_key()
    made = certificates.issue_intermediate(name, key.public_key(), root, 10)
    return Authority(made, key)


ROOT = root_of("root")
INTERMEDIATE = under(ROOT)
KEY = certificates.new_private_key()
LEAF = certificates.issue_node("driver-1", KEY.public_key(), INTERMEDIATE, 1)
CHAIN = [LEAF, INTERMEDIATE.certificate, ROOT.certificate]


def listing(
    issuer: Authority, *revoked: x509.Certificate, number: int = 1, until: datetime = LATER
) -> Crl:
    entries = [RevokedSerial(each.serial_number, NOW, "keyCompromise") for each in revoked]
    return from_list(certificates.issue_crl(issuer, entries, number, until))


EMPTY = listing(INTERMEDIATE)


def test_a_leaf_that_its_issuers_list_does_not_name_is_good():
    check_chain(CHAIN, [EMPTY], NOW)
    check_chain(CHAIN, [EMPTY, listing(ROOT)], NOW)


def test_a_revoked_leaf_is_refused_with_the_reason():
    with pytest.raises(CertificateRevoked, match=r"CN=driver-1 was revoked at .*keyCompromise"):
        check_chain(CHAIN, [listing(INTERMEDIATE, LEAF)], NOW)


def test_a_revoked_intermediate_takes_its_leaves_with_it():
    with pytest.raises(CertificateRevoked, match="CN=intermediate"):
        check_chain(CHAIN, [EMPTY, listing(ROOT, INTERMEDIATE.certificate)], NOW)


@pytest.mark.parametrize(
    ("crls", "why"),
    [
        ([], "no CRL is signed by CN=intermediate"),
        ([listing(ROOT)], "no CRL is signed by CN=intermediate"),
        ([listing(under(ROOT))], "no CRL is signed by CN=intermediate"),
        ([listing(INTERMEDIATE, until=NOW)], "expired"),
        ([EMPTY, listing(ROOT, until=NOW)], "CRL of CN=root expired"),
        ([EMPTY, listing(Authority(ROOT.certificate, KEY))], "no CRL is signed by CN=root"),
    ],
)
def test_what_no_valid_list_covers_is_refused(crls: list[Crl], why: str):
    with pytest.raises(RevocationUnknown, match=why):
        check_chain(CHAIN, crls, NOW)


def test_a_leaf_without_its_issuer_is_refused():
    with pytest.raises(RevocationUnknown, match="no issuer"):
        check_chain([LEAF], [EMPTY], NOW)


def test_the_list_of_another_root_of_the_same_name_says_nothing():
    """During a root rollover, the file holds the CRL of the old root."""
    check_chain(CHAIN, [EMPTY, listing(root_of("root"))], NOW)


def test_a_list_of_tomorrow_proves_nothing():
    with pytest.raises(RevocationUnknown, match="valid only from"):
        check_chain(CHAIN, [EMPTY], NOW - timedelta(hours=1))


def test_an_expired_list_still_revokes():
    with pytest.raises(CertificateRevoked):
        check_chain(CHAIN, [listing(INTERMEDIATE, LEAF, until=NOW)], NOW)


def test_revoked_is_told_before_unknown():
    with pytest.raises(CertificateRevoked):
        check_chain(CHAIN, [listing(ROOT, INTERMEDIATE.certificate)], NOW)


def test_the_list_with_the_highest_number_counts_in_any_order():
    old, new = listing(INTERMEDIATE, number=9), listing(INTERMEDIATE, LEAF, number=10)
    for crls in ([old, new], [new, old]):
        assert status_of(LEAF, INTERMEDIATE.certificate, crls, NOW).status is Status.REVOKED


def test_a_list_of_a_namesake_with_another_key_does_not_count():
    forged = listing(under(ROOT), LEAF, number=99)
    check_chain(CHAIN, [forged, EMPTY], NOW)


def test_a_certificate_that_may_not_sign_lists_signs_none():
    crl = from_list(certificates.issue_crl(Authority(LEAF, KEY), [], 1, LATER))
    assert not crl.is_signed_by(LEAF)


def test_a_file_may_hold_several_lists_and_text_before_each(tmp_path: Path):
    file = tmp_path / "crl.pem"
    second = listing(ROOT, until=NOW + timedelta(days=9))
    file.write_bytes(b"issued by hand\n" + EMPTY.public_bytes() + second.public_bytes())
    crls = load_crls(file)
    assert [crl.issuer for crl in crls] == [EMPTY.issuer, second.issuer]
    assert crls[0].is_signed_by(INTERMEDIATE.certificate)
    assert crls[1].is_signed_by(ROOT.certificate)
    assert earliest_end(crls) == EMPTY.next_update
    check_chain(CHAIN, crls, NOW)


PEM = EMPTY.public_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        PEM[:-30],
        PEM + PEM[:90],
        PEM + b"hello",
        ROOT.certificate.public_bytes(Encoding.PEM),
        ROOT.certificate.public_bytes(Encoding.PEM) + PEM,
        PEM.replace(b"A", b"B"),
        PEM.replace(b"\n", b"\n!", 2),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes):
    file = tmp_path / "crl.pem"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"crl\.pem is not a file of complete CRLs"):
        load_crls(file)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"crl\.pem: No such file"):
        load_crls(tmp_path / "crl.pem")


def built(*extensions: tuple[x509.ExtensionType, bool]) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(EMPTY.issuer)
    builder = builder.last_update(NOW).next_update(LATER)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(INTERMEDIATE.private_key, SHA256()).public_bytes(Encoding.PEM)


def point(**scope: bool) -> x509.IssuingDistributionPoint:
    parts = {"only_contains_user_certs": False, "only_contains_ca_certs": False}
    parts |= {"indirect_crl": False, "only_contains_attribute_certs": False, **scope}
    url = [x509.UniformResourceIdentifier("http://ca.example.org/crl")]
    return x509.IssuingDistributionPoint(
        full_name=url, relative_name=None, only_some_reasons=None, **parts
    )


def test_a_distribution_point_alone_is_a_complete_list():
    assert parse_crls(built((point(), True)))


@pytest.mark.parametrize(
    ("extension", "why"),
    [
        (x509.DeltaCRLIndicator(1), "delta"),
        (point(only_contains_user_certs=True), "only a part"),
        (point(only_contains_ca_certs=True), "only a part"),
        (point(indirect_crl=True), "only a part"),
    ],
)
def test_a_list_of_a_part_is_refused(extension: x509.ExtensionType, why: str):
    with pytest.raises(ValueError, match=why):
        parse_crls(built((extension, True)))


def test_openssl_agrees(tmp_path: Path):
    """The same chains and lists, judged by `openssl verify -crl_check_all`."""
    for name, parts in {"root": CHAIN[2:], "untrusted": CHAIN[1:2], "leaf": CHAIN[:1]}.items():
        pem = b"".join(each.public_bytes(Encoding.PEM) for each in parts)
        (tmp_path / name).write_bytes(pem)

    def verifies(*crls: Crl) -> str:
        (tmp_path / "crl").write_bytes(b"".join(crl.public_bytes() for crl in crls))
        command = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-CRLfile", "crl"]
        command += ["-CAfile", "root", "-untrusted", "untrusted", "leaf"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "leaf: OK" in verifies(EMPTY, listing(ROOT))
    assert "certificate revoked" in verifies(listing(INTERMEDIATE, LEAF), listing(ROOT))
    assert "certificate revoked" in verifies(EMPTY, listing(ROOT, INTERMEDIATE.certificate))
    assert "unable to get certificate CRL" in verifies(listing(ROOT))


@pytest.mark.parametrize(
    ("crls", "revoked"),
    [
        ([], None),
        ([listing(INTERMEDIATE, until=NOW - timedelta(seconds=1))], None),
        ([listing(INTERMEDIATE, LEAF)], "CN=driver-1"),
        ([listing(INTERMEDIATE), listing(ROOT, INTERMEDIATE.certificate)], "CN=intermediate"),
    ],
)
def test_only_an_entry_revokes_a_hosts_own_chain(crls: list[Crl], revoked: str | None):
    other = root_of("another root").certificate
    why = own_revocation(CHAIN[:2], [other, ROOT.certificate], crls, NOW)
    assert (why is None) if revoked is None else str(why).startswith(revoked)
