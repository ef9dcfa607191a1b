"""TLS contexts: TLS 1.3 only, our own certificates, errors that an operator can act on.

Every context trusts one root; a peer sends its leaf together with the intermediate.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from custody.runtime.configuration import read_secret
from custody.runtime.errors import ConfigurationError

PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "a server",
    ExtendedKeyUsageOID.CLIENT_AUTH: "a node (a TLS client)",
}


def server_context(
    certificate: Path, private_key: Path, client_ca: Path | None = None
) -> ssl.SSLContext:
    """Return a listener's TLS context. Raise ConfigurationError.

    ``certificate`` contains the leaf, then the intermediates. With ``client_ca``, each client must
    present a certificate under that root. TLS sessions are then not resumed, so each connection
    proves possession of the client's key.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_identity(context, certificate, private_key, ExtendedKeyUsageOID.SERVER_AUTH)
    if client_ca is not None:
        _load_trust(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0
    return context


def client_context(
    ca: Path, certificate: Path | None = None, private_key: Path | None = None
) -> ssl.SSLContext:
    """Return a client's TLS context. Raise ConfigurationError.

    The client trusts servers with a certificate under the root ``ca`` for their host name. With
    ``certificate`` and ``private_key`` (both or none) the client presents its own certificate.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    _load_trust(context, ca)
    if certificate is not None and private_key is not None:
        _load_identity(context, certificate, private_key, ExtendedKeyUsageOID.CLIENT_AUTH)
    elif certificate is not None or private_key is not None:
        raise ConfigurationError(
            "a client certificate needs its private key, and a key its certificate",
            "Name both files in the configuration.",
        )
    return context


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one. Raise ConfigurationError."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the certificate {path}: {error.strerror}",
            "Correct the path in the configuration, or issue one with: pki issue --help",
        ) from None
    except ValueError:
        raise ConfigurationError(
            f"{path} contains no PEM certificate",
            "Name the file that pki calls certificate.pem (or ca.pem, for a root).",
        ) from None


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


def _load_trust(context: ssl.SSLContext, ca: Path) -> None:
    certificates = load_certificates(ca)
    for certificate in certificates:
        _check_period(ca, certificate)
    der = b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    context.load_verify_locations(cadata=der)


def _load_identity(
    context: ssl.SSLContext, certificate: Path, private_key: Path, purpose: ObjectIdentifier
) -> None:
    chain = load_certificates(certificate)
    for link in chain:
        _check_period(certificate, link)
    _check_purpose(certificate, chain[0], purpose)
    _check_private_key(certificate, chain[0], private_key)
    try:
        context.load_cert_chain(certificate, private_key)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"TLS cannot use {certificate} with {private_key}: {error.reason or error}",
            "Issue the certificate again, see: pki issue --help",
        ) from None


def _check_period(path: Path, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    name = certificate.subject.rfc4514_string()
    if certificate.not_valid_after_utc <= now:
        raise ConfigurationError(
            f"the certificate {name} in {path} expired at {certificate.not_valid_after_utc}",
            "Issue a new one with: pki issue --help",
        )
    if certificate.not_valid_before_utc > now:
        raise ConfigurationError(
            f"the certificate {name} in {path} is valid only from "
            f"{certificate.not_valid_before_utc}, and it is {now:%Y-%m-%d %H:%M:%S} UTC here",
            "Set this host's clock (or the one of the host that issued it).",
        )


def _check_purpose(path: Path, leaf: x509.Certificate, purpose: ObjectIdentifier) -> None:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if purpose not in usages:
        raise ConfigurationError(
            f"{path} is not a certificate for {PURPOSES[purpose]}",
            "Servers take one from `pki issue server`, nodes from `pki issue node`.",
        )


def _check_private_key(certificate: Path, leaf: x509.Certificate, private_key: Path) -> None:
    try:
        key = load_pem_private_key(read_secret(private_key, "a TLS private key"), password=None)
    except TypeError:
        raise ConfigurationError(
            f"{private_key} is encrypted",
            "Daemons start unattended: decrypt it into a file that only this user may read.",
        ) from None
    except ValueError:
        raise ConfigurationError(
            f"{private_key} contains no PEM private key",
            "Name the file that pki calls private_key.pem.",
        ) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise ConfigurationError(
            f"the private key {private_key} does not belong to the certificate {certificate}",
            "Name the two files of one folder that pki made.",
        )
