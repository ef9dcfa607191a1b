"""The chain from a certificate to a trusted root (RFC 5280, section 6). Pure.

This is for people who put files in place; each TLS handshake checks the chain again, by OpenSSL.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

MAX_LENGTH = 8


class BrokenChain(ValueError):
    """No valid chain leads to a root; the text says where it ends."""


def chain_of(
    leaf: x509.Certificate,
    others: Iterable[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> list[x509.Certificate]:
    """Return the leaf, its issuers and a root, each valid now. Raise BrokenChain."""
    chain, left = [leaf], list(others)
    while len(chain) <= MAX_LENGTH:
        last = chain[-1]
        _require_valid(last, now)
        if last in roots:
            return chain
        issuer = next((each for each in (*roots, *left) if _has_issued(each, last)), None)
        if issuer is None:
            raise BrokenChain(
                f"the issuer of {_name(last)}, {last.issuer.rfc4514_string()}, is neither a root "
                "nor beside the certificate"
            )
        chain.append(issuer)
    raise BrokenChain(f"no root within {MAX_LENGTH} certificates")


def _has_issued(issuer: x509.Certificate, issued: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def _require_valid(certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise BrokenChain(f"{_name(certificate)} expired at {certificate.not_valid_after_utc}")
    if certificate.not_valid_before_utc > now:
        raise BrokenChain(
            f"{_name(certificate)} is valid only from {certificate.not_valid_before_utc}"
        )


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
