"""Making of certificates: root, intermediate, and leaves of nodes and servers (RFC 5280).

Pure: keys and certificates in, certificates out.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custody.pki.names import ServerNames, node_names, server_names
from custody.runtime.revocation import RevokedSerial

BACKDATED = timedelta(minutes=5)
"""Certificates begin so much earlier: another host's clock may be behind the issuer's."""

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Authority:
    """A certificate that may issue others, with its private key."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey


def new_private_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def issue_root(name: str, private_key: ec.EllipticCurvePrivateKey, days: int) -> x509.Certificate:
    """Make a self-signed root, which can certify one level of intermediates."""
    subject = _name(name)
    builder = _base(subject, private_key.public_key(), subject, _until(days, None))
    builder = _as_authority(builder, path_length=1)
    return builder.sign(private_key, SHA256())


def issue_intermediate(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    root: Authority,
    days: int,
    permitted: ServerNames | None = None,
    permitted_networks: list[IpNetwork] | None = None,
) -> x509.Certificate:
    """Make an intermediate, which issues leaves only.

    ``permitted`` DNS suffixes and networks limit the servers that it can certify (name
    constraints). Name constraints cannot limit node identities: RFC 5280, section 4.2.1.10,
    constrains URIs by their host, and node identities have no host.
    """
    builder = _base(_name(name), public_key, root.certificate.subject, _until(days, root))
    builder = _as_authority(builder, path_length=0)
    builder = builder.add_extension(_issued_by(root), critical=False)
    subtrees: list[x509.GeneralName] = [
        *(x509.DNSName(name) for name in (permitted.dns if permitted else [])),
        *(x509.IPAddress(network) for network in permitted_networks or []),
    ]
    if subtrees:
        constraints = x509.NameConstraints(permitted_subtrees=subtrees, excluded_subtrees=None)
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(root.private_key, SHA256())


def issue_node(
    node_id: str, public_key: ec.EllipticCurvePublicKey, issuer: Authority, days: int
) -> x509.Certificate:
    """Issue a node's certificate, valid for a TLS client only; the SAN URI is the identity.

    Raise ValueError for an invalid ``node_id``.
    """
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH
    return _leaf(node_id, public_key, issuer, days, node_names(node_id), purpose)


def issue_server(
    name: str,
    names: ServerNames,
    public_key: ec.EllipticCurvePublicKey,
    issuer: Authority,
    days: int,
) -> x509.Certificate:
    """Issue a server's certificate for the names that clients connect to."""
    purpose = ExtendedKeyUsageOID.SERVER_AUTH
    return _leaf(name, public_key, issuer, days, server_names(names), purpose)


def issue_crl(
    issuer: Authority, revoked: Iterable[RevokedSerial], number: int, until: datetime
) -> x509.CertificateRevocationList:
    """Issue a complete CRL (RFC 5280, section 5), valid from now on and until ``until``.

    ``number`` must be higher than the number of every CRL that this key has signed before.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(datetime.now(UTC) - BACKDATED)
        .next_update(until)
        .add_extension(_issued_by(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.serial).revocation_date(each.at)
        if each.reason is not None:
            flag = x509.ReasonFlags(each.reason)
            entry = entry.add_extension(x509.CRLReason(flag), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.private_key, SHA256())


def _leaf(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: Authority,
    days: int,
    identity: x509.SubjectAlternativeName,
    purpose: x509.ObjectIdentifier,
) -> x509.Certificate:
    until = _until(days, issuer)
    builder = _base(_name(name), public_key, issuer.certificate.subject, until)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(identity, critical=False)
        .add_extension(_issued_by(issuer), critical=False)
        .sign(issuer.private_key, SHA256())
    )


def _base(
    subject: x509.Name, public_key: ec.EllipticCurvePublicKey, issuer: x509.Name, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)


def _usage(
    digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issued_by(issuer: Authority) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)


def _until(days: int, issuer: Authority | None) -> datetime:
    """Return the end of validity: ``days`` from now, but never after the issuer's end."""
    wanted = datetime.now(UTC) + timedelta(days=days)
    return wanted if issuer is None else min(wanted, issuer.certificate.not_valid_after_utc)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
