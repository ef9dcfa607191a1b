"""Signing of a host's request at the authority."""

from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from custody.pki.certificates import Authority
from custody.pki.directory import INTERMEDIATE, Directory
from custody.pki.reasons import Reason
from custody.pki.records import Index, key_fingerprint, record_of
from custody.pki.requests import BadRequest, check_request
from custody.runtime.errors import OperatorError
from custody.runtime.regular_files import read_regular
from custody.wire.x509_loading import pem_request

MAX_REQUEST = 64 * 1024
"""In bytes."""


def read_request(path: Path) -> x509.CertificateSigningRequest:
    """Return the request in a PEM file. Raise OperatorError."""
    try:
        return pem_request(read_regular(path, MAX_REQUEST))
    except OSError as error:
        raise OperatorError(
            f"cannot read the request {path}: {error.strerror}", "Correct the path."
        ) from None
    except ValueError:
        raise OperatorError(
            f"{path} contains no PEM certificate request",
            "Copy the request.pem that `pki csr` made on the host.",
        ) from None


def sign_request(
    directory: Directory,
    request: x509.CertificateSigningRequest,
    name: str,
    names: x509.SubjectAlternativeName,
    make: Callable[[ec.EllipticCurvePublicKey, Authority], x509.Certificate],
) -> bytes:
    """Check the request, issue and record the leaf. Return the leaf and its issuer, in PEM.

    Raise OperatorError. After a crash the leaf may be on record, and nobody has it.
    """
    try:
        key = check_request(request, names)
    except BadRequest as error:
        raise OperatorError(
            f"the request for {name} is refused: {error}",
            "Repeat pki sign as pki csr printed it on the host, with each --dns and --ip. If the "
            "request is wrong, make another on the host with: pki csr (openssl: see "
            "docs/how-to/certificates.md).",
        ) from None
    issuer = directory.intermediate()
    with directory.records(INTERMEDIATE).changing() as index:
        _require_own_key(index, request, name)
        leaf = make(key, issuer)
        index.certificates.append(record_of(leaf, name))
    return b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, issuer.certificate))


def _require_own_key(index: Index, request: x509.CertificateSigningRequest, name: str) -> None:
    fingerprint = key_fingerprint(request)
    for each in index.certificates:
        if each.key_sha256 != fingerprint:
            continue
        if each.revoked is not None and each.revoked.reason is Reason.KEY_COMPROMISE:
            raise OperatorError(
                f"the key of the request for {name} was revoked as compromised at "
                f"{each.revoked.at:%Y-%m-%d %H:%M} UTC",
                "Make a new key on the host, with: pki renew",
            )
        if each.name != name:
            raise OperatorError(
                f"the key of the request for {name} belongs to {each.name}",
                "Make a key of its own for each node and server, with: pki csr",
            )
