"""``pki install``: first check everything that was given, then write it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from custody.pki.host_files import CA, CRL, HostFiles
from custody.pki.installing import check_certificate, check_crls, check_roots
from custody.runtime.errors import OperatorError
from custody.runtime.revocation import Crl, load_crls
from custody.runtime.tls import load_certificates


@dataclass(frozen=True)
class Plan:
    """Checked files, and the folder that they belong into."""

    files: HostFiles
    chain: list[x509.Certificate] | None
    roots: list[x509.Certificate] | None
    crls: list[Crl] | None

    def run(self) -> Iterator[str]:
        """Write the files; yield what was done.

        New roots come first: a crash after them leaves a host that accepts at least what it
        accepted before.
        """
        if self.roots is not None:
            pem = b"".join(each.public_bytes(Encoding.PEM) for each in self.roots)
            self.files.replace(CA, pem)
            yield f"{self.files.path / CA} has {len(self.roots)} roots"
        if self.chain is not None:
            self.files.install(self.chain)
            end = self.chain[0].not_valid_after_utc
            yield f"{self.files.path} has a certificate until {end:%Y-%m-%d %H:%M} UTC"
        if self.crls is not None:
            self.files.replace(CRL, b"".join(each.public_bytes() for each in self.crls))
            end = min(each.next_update for each in self.crls)
            yield f"{self.files.path / CRL} is valid until {end:%Y-%m-%d %H:%M} UTC"


def plan(files: HostFiles, certificate: Path | None, ca: Path | None, crl: Path | None) -> Plan:
    """Check the files. Raise OperatorError."""
    now = datetime.now(UTC)
    chain = None if certificate is None else load_certificates(certificate)
    own = files.chain() if chain is None else chain
    roots = None if ca is None else load_certificates(ca)
    if roots is not None and ca is not None:
        check_roots(roots, own, now, ca)
    trusted = _roots_in_use(files) if roots is None else roots
    if chain is not None and certificate is not None:
        check_certificate(chain, _requested(files, chain[0]), trusted, now, certificate)
    crls = None if crl is None else load_crls(crl)
    if crls is not None and crl is not None:
        check_crls(crls, _crls_in_use(files), [*trusted, *own[1:]], now, crl)
    return Plan(files, chain, roots, crls)


def _requested(files: HostFiles, leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    """Return the names that the pending request, or the certificate in use, is for."""
    found = files.pending_request() or files.certificate()
    if found is None:
        raise OperatorError(
            f"nothing was requested in {files.path} for {leaf.subject.rfc4514_string()}",
            "Give the folder in which pki csr made the request: --folder",
        )
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _roots_in_use(files: HostFiles) -> list[x509.Certificate]:
    path = files.path / CA
    if not path.exists():
        raise OperatorError(
            f"{path} does not exist, so nothing is trusted yet",
            "Copy the root's certificate from the authority, and give it with --ca FILE.",
        )
    return load_certificates(path)


def _crls_in_use(files: HostFiles) -> list[Crl]:
    path = files.path / CRL
    return load_crls(path) if path.exists() else []
