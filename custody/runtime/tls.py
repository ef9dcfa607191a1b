"""TLS contexts: TLS 1.3 only, our own certificates, errors that an operator can act on.

A context trusts the roots of one file; a peer sends its leaf together with the intermediate.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
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
from custody.runtime.revocation import Crl, load_crls
from custody.wire.x509_loading import pem_certificates

PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "a server",
    ExtendedKeyUsageOID.CLIENT_AUTH: "a node (a TLS client)",
}


FileIdentity = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class TlsFiles:
    """The files of one use of TLS. ``use`` names it in logs and metrics.

    ``certificate`` contains the leaf, then the intermediates; it comes with its ``private_key``.
    ``ca`` contains the roots of the peers; a server without ``ca`` asks for no client certificate.
    ``crl``: the CRLs that a peer's chain is checked against; see custody/runtime/revocation.py.
    ``check`` raises ConfigurationError for a certificate that TLS accepts, but this use does not.
    """

    use: str
    certificate: Path | None = None
    private_key: Path | None = None
    ca: Path | None = None
    crl: Path | None = None
    is_server: bool = False
    check: Callable[[Path], None] | None = None

    def identity(self) -> FileIdentity:
        """Return what changes when a file is written, replaced, or its symbolic link is moved."""
        return tuple(
            None if path is None else _identity(path)
            for path in (self.certificate, self.private_key, self.ca, self.crl)
        )


@dataclass(frozen=True, eq=False)
class LoadedTls:
    """A TLS context, and the contents of the files that it was made from."""

    context: ssl.SSLContext
    chain: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]
    crls: tuple[Crl, ...]


def load_tls(files: TlsFiles, kind: type[ssl.SSLContext] = ssl.SSLContext) -> LoadedTls:
    """Read the files and make a context of class ``kind``. Raise ConfigurationError.

    If a server has a ``ca``, each client must present a certificate. TLS sessions are then not
    resumed, so each connection proves possession of the client's key.
    """
    protocol = ssl.PROTOCOL_TLS_SERVER if files.is_server else ssl.PROTOCOL_TLS_CLIENT
    context = kind(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    chain = _load_identity(context, files)
    roots = [] if files.ca is None else _load_trust(context, files.ca)
    if files.is_server and files.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0
    crls = [] if files.crl is None else load_crls(files.crl)
    return LoadedTls(context, tuple(chain), tuple(roots), tuple(crls))


def server_context(
    certificate: Path, private_key: Path, client_ca: Path | None = None
) -> ssl.SSLContext:
    """Return a listener's TLS context, as ``load_tls`` does. Raise ConfigurationError."""
    return load_tls(TlsFiles("server", certificate, private_key, client_ca, is_server=True)).context


def client_context(
    ca: Path, certificate: Path | None = None, private_key: Path | None = None
) -> ssl.SSLContext:
    """Return a client's TLS context. Raise ConfigurationError.

    The client trusts servers with a certificate under the root ``ca`` for their host name. With
    ``certificate`` and ``private_key`` (both or none) the client presents its own certificate.
    """
    return load_tls(TlsFiles("client", certificate, private_key, ca)).context


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one. Raise ConfigurationError."""
    try:
        return pem_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the certificate {path}: {error.strerror}",
            "Correct the path in the configuration, or make a request with: pki csr --help",
        ) from None
    except ValueError:
        raise ConfigurationError(
            f"{path} contains no PEM certificate",
            "Name the file that pki calls certificate.pem (or ca.pem, for a root).",
        ) from None


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _load_trust(context: ssl.SSLContext, ca: Path) -> list[x509.Certificate]:
    certificates = load_certificates(ca)
    for certificate in certificates:
        _check_period(ca, certificate)
    der = b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    context.load_verify_locations(cadata=der)
    return certificates


def _load_identity(context: ssl.SSLContext, files: TlsFiles) -> list[x509.Certificate]:
    certificate, private_key = files.certificate, files.private_key
    if certificate is None and private_key is None:
        return []
    if certificate is None or private_key is None:
        raise ConfigurationError(
            "a client certificate needs its private key, and a key its certificate",
            "Name both files in the configuration.",
        )
    chain = load_certificates(certificate)
    for link in chain:
        _check_period(certificate, link)
    purpose = (
        ExtendedKeyUsageOID.SERVER_AUTH if files.is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    )
    if files.check is not None:
        files.check(certificate)
    _check_purpose(certificate, chain[0], purpose)
    _check_private_key(certificate, chain[0], private_key)
    try:
        context.load_cert_chain(certificate, private_key)
    except (ssl.SSLError, OSError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f"TLS cannot use {certificate} with {private_key}: {reason or error}",
            "Make a new pair: pki renew on this host, pki sign at the authority, pki install here.",
        ) from None
    return chain


def _check_period(path: Path, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    name = certificate.subject.rfc4514_string()
    if certificate.not_valid_after_utc <= now:
        raise ConfigurationError(
            f"the certificate {name} in {path} expired at {certificate.not_valid_after_utc}",
            "Renew a leaf with: pki renew. For an authority: docs/how-to/certificates.md",
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
            "Request one for a server with `pki csr server`, for a node with `pki csr node`.",
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
