"""Certificates, requests and CRLs from outside: whatever cannot be read raises ValueError.

``cryptography`` reads extensions late. For an extension that is there twice, or a name of an
unknown type, it raises errors that are not ValueErrors. So extensions are read here, when a file is
loaded.
"""

from typing import Protocol, TypeVar

from cryptography import x509


class _HasExtensions(Protocol):
    @property
    def extensions(self) -> x509.Extensions: ...


Parsed = TypeVar("Parsed", bound=_HasExtensions)


def readable(parsed: Parsed) -> Parsed:
    """Return a parsed object. Raise ValueError unless its extensions can be read."""
    try:
        _ = parsed.extensions
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None
    return parsed


def pem_certificate(content: bytes) -> x509.Certificate:
    """Return the first certificate of a PEM text. Raise ValueError."""
    return readable(x509.load_pem_x509_certificate(content))


def pem_certificates(content: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM text, at least one. Raise ValueError."""
    return [readable(each) for each in x509.load_pem_x509_certificates(content)]


def pem_request(content: bytes) -> x509.CertificateSigningRequest:
    """Return the certificate request of a PEM text. Raise ValueError."""
    return readable(x509.load_pem_x509_csr(content))
