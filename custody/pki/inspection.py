"""What a PEM file is, and whether it can be used now: for ``pki show``."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import AwareDatetime

from custody.pki.chains import BrokenChain, chain_of
from custody.pki.description import Description, describe
from custody.pki.records import key_fingerprint
from custody.pki.requests import names_in
from custody.runtime.errors import OperatorError
from custody.runtime.regular_files import read_regular
from custody.runtime.revocation import (
    CertificateRevoked,
    Crl,
    RevocationUnknown,
    check_chain,
    parse_crls,
)
from custody.wire.encoding import Model
from custody.wire.x509_loading import pem_certificates, pem_request

MAX_FILE = 64 * 1024 * 1024


class ShownCertificate(Description):
    """A certificate of a file; ``problems`` is empty if it can be used now.

    ``chain`` and ``revocation`` are null if there was nothing to check them against.
    """

    names: tuple[str, ...]
    key_sha256: str
    chain: str | None
    revocation: Literal["good", "revoked", "unknown"] | None
    problems: tuple[str, ...]


class ShownRequest(Model):
    """A request. ``problems``: why no authority signs it."""

    kind: Literal["request"] = "request"
    subject: str
    names: tuple[str, ...]
    key_sha256: str
    problems: tuple[str, ...]


class ShownCrl(Model):
    """A CRL: which serials are revoked. ``signed_by_known`` is null without certificates."""

    kind: Literal["crl"] = "crl"
    issuer: str
    number: int
    this_update: AwareDatetime
    next_update: AwareDatetime
    days_left: int
    signed_by_known: bool | None
    revoked: dict[str, str]
    problems: tuple[str, ...]


class ShownKey(Model):
    """A private key; nothing of it is shown but whether it is encrypted."""

    kind: Literal["private key"] = "private key"
    encrypted: bool
    key_sha256: str | None
    problems: tuple[str, ...] = ()


Shown = ShownCertificate | ShownRequest | ShownCrl | ShownKey


def inspect(
    path: Path,
    roots: Sequence[x509.Certificate] | None,
    crls: Sequence[Crl] | None,
    now: datetime,
    days_needed: int,
) -> list[Shown]:
    """Return what the file contains. Raise OperatorError if that is nothing known.

    ``days_needed``: a certificate or CRL with fewer days left has a problem.
    """
    try:
        content = read_regular(path, MAX_FILE)
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}", "Correct the path.") from None
    try:
        if b"-----BEGIN X509 CRL-----" in content:
            return [_crl(each, roots, now, days_needed) for each in parse_crls(content)]
        if b"-----BEGIN CERTIFICATE REQUEST-----" in content:
            return [_request(pem_request(content))]
        if b"-----BEGIN CERTIFICATE-----" in content:
            found = pem_certificates(content)
            return [
                _certificate(each, found[at + 1 :], roots, crls, now, days_needed)
                for at, each in enumerate(found)
            ]
        if b"PRIVATE KEY-----" in content:
            return [_key(content)]
    except ValueError as error:
        raise OperatorError(f"{path} is damaged: {error}", "Copy the file again.") from None
    raise OperatorError(
        f"{path} contains no PEM certificate, request, CRL or private key",
        "Name a file that pki has made.",
    )


def _certificate(
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate] | None,
    crls: Sequence[Crl] | None,
    now: datetime,
    days_needed: int,
) -> ShownCertificate:
    described = describe(certificate, now)
    problems = _period(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)
    problems += _days(described.days_left, days_needed) if not problems else []
    chain, revocation = None, None
    if roots is not None:
        try:
            found = chain_of(certificate, others, roots, now)
            chain = " <- ".join(each.subject.rfc4514_string() for each in found)
            if crls is not None and len(found) > 1 and _needs_crl(found, crls):
                check_chain(found, crls, now)
                revocation = "good"
        except BrokenChain as error:
            problems += [str(error)] if str(error) not in problems else []
        except CertificateRevoked as error:
            revocation, problems = "revoked", [*problems, str(error)]
        except RevocationUnknown as error:
            revocation, problems = "unknown", [*problems, str(error)]
    return ShownCertificate(
        **described.model_dump(),
        names=_names(certificate),
        key_sha256=key_fingerprint(certificate),
        chain=chain,
        revocation=revocation,
        problems=tuple(problems),
    )


def _request(request: x509.CertificateSigningRequest) -> ShownRequest:
    wrong = [] if request.is_signature_valid else ["its signature is wrong"]
    return ShownRequest(
        subject=request.subject.rfc4514_string(),
        names=tuple(sorted(names_in(request))),
        key_sha256=key_fingerprint(request),
        problems=tuple(wrong),
    )


def _crl(
    crl: Crl, roots: Sequence[x509.Certificate] | None, now: datetime, days_needed: int
) -> ShownCrl:
    problems = _period(crl.this_update, crl.next_update, now)
    left = (crl.next_update - now).days
    problems += _days(left, days_needed) if not problems else []
    signed = None if roots is None else any(crl.is_signed_by(each) for each in roots)
    return ShownCrl(
        issuer=crl.issuer.rfc4514_string(),
        number=crl.number,
        this_update=crl.this_update,
        next_update=crl.next_update,
        days_left=left,
        signed_by_known=signed,
        revoked={
            format(each.serial, "x"): each.reason or "unspecified" for each in crl.revoked.values()
        },
        problems=tuple(problems),
    )


def _key(content: bytes) -> ShownKey:
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        return ShownKey(encrypted=True, key_sha256=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return ShownKey(encrypted=False, key_sha256=None)
    return ShownKey(encrypted=False, key_sha256=key_fingerprint(key))


def _needs_crl(chain: Sequence[x509.Certificate], crls: Sequence[Crl]) -> bool:
    """Return whether a CRL must cover the first: an intermediate may do without one."""
    return describe(chain[0]).kind != "intermediate" or any(crl.states(chain[1]) for crl in crls)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(f"{type(each).__name__} {each.value}" for each in names)


def _period(begin: datetime, end: datetime, now: datetime) -> list[str]:
    if end <= now:
        return [f"expired at {end}"]
    return [f"valid only from {begin}"] if begin > now else []


def _days(left: int, needed: int) -> list[str]:
    return [f"{left} days left, fewer than {needed}"] if left < needed else []
