"""Certificate revocation lists (CRLs) in files, and what they say about a peer's chain.

RFC 5280, sections 5 and 6.3. Decisions are pure; only ``load_crls`` reads a file. The rules:

- A CRL counts for a certificate only if the key of the certificate's issuer has signed the CRL.
  Of several such CRLs, the one with the highest number counts.
- The leaf needs a CRL of its issuer. An intermediate needs a CRL of its issuer once there is a CRL
  that states this issuer's name and key.
- A CRL that has expired, or is not valid yet, proves that nothing is good: certificates that it
  lists are revoked, the status of all others is unknown. A chain of unknown status is refused.
- A list of a part of the certificates (a delta, a partition, an indirect CRL) is refused on load.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.runtime.errors import ConfigurationError
from custody.runtime.regular_files import read_regular
from custody.wire.x509_loading import readable

MAX_FILE = 64 * 1024 * 1024
"""In bytes: over a million revoked certificates."""
BEGIN, END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


class Status(StrEnum):
    """What CRLs say about one certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """The status of a certificate. ``why`` is a sentence for people, without a final full stop."""

    status: Status
    why: str


class CertificateRevoked(Exception):
    """A certificate of the chain is revoked; the text names the certificate, time and reason."""


class RevocationUnknown(Exception):
    """No valid CRL covers a certificate of the chain; the text says which CRL is missing."""


@dataclass(frozen=True)
class RevokedSerial:
    """An entry of a CRL. ``reason`` is a word of RFC 5280, section 5.3.1, or None."""

    serial: int
    at: datetime
    reason: str | None


@dataclass(frozen=True, eq=False)
class Crl:
    """A complete CRL. Nobody has checked its signature yet: see ``is_signed_by``.

    ``issuer_key``: the authority key identifier, by which namesakes are told apart.
    """

    issuer: x509.Name
    number: int
    this_update: datetime
    next_update: datetime
    revoked: dict[int, RevokedSerial]
    issuer_key: bytes | None
    _parsed: x509.CertificateRevocationList = field(repr=False)
    _signers: dict[bytes, bool] = field(default_factory=dict, repr=False)

    def states(self, issuer: x509.Certificate) -> bool:
        """Return whether the CRL says that it is of this issuer; anybody can say so."""
        if issuer.subject != self.issuer:
            return False
        try:
            known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return True
        return self.issuer_key is None or known.digest == self.issuer_key

    def is_signed_by(self, issuer: x509.Certificate) -> bool:
        """Return whether the issuer's name is in the CRL and its key has signed the CRL.

        The answer for each public key is remembered.
        """
        if issuer.subject != self.issuer:
            return False
        key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key not in self._signers:
            self._signers[key] = _may_sign(issuer) and _verifies(self._parsed, issuer)
        return self._signers[key]

    def public_bytes(self) -> bytes:
        """Return the CRL in PEM."""
        return self._parsed.public_bytes(Encoding.PEM)


def load_crls(path: Path) -> list[Crl]:
    """Return the CRLs of a PEM file, at least one. Raise ConfigurationError."""
    try:
        content = read_regular(path, MAX_FILE)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the CRL file {path}: {error.strerror}",
            "Correct the path in the configuration, or make the file with: pki crl",
        ) from None
    try:
        return parse_crls(content)
    except ValueError as error:
        raise ConfigurationError(
            f"{path} is not a file of complete CRLs in PEM: {error}",
            "Copy the file that `pki crl` wrote, and that other hosts use, to this host again.",
        ) from None


def parse_crls(content: bytes) -> list[Crl]:
    """Return the CRLs in a PEM text, at least one. Raise ValueError for anything else in it."""
    blocks = [each.strip() for each in content.split(END)]
    if len(blocks) == 1:
        raise ValueError("it contains no X509 CRL")
    if blocks[-1]:
        raise ValueError("the last CRL is cut off, or something follows it")
    return [_parse_block(block) for block in blocks[:-1]]


def _parse_block(block: bytes) -> Crl:
    comment, begin, body = block.rpartition(BEGIN)
    if not begin or b"-----" in comment:
        raise ValueError("it contains something else than CRLs")
    return from_list(x509.load_pem_x509_crl(BEGIN + body + b"\n" + END + b"\n"))


def from_list(parsed: x509.CertificateRevocationList) -> Crl:
    """Read a CRL. Raise ValueError if it is not a complete CRL, or has no end of validity."""
    number, issuer_key = 0, None
    for extension in readable(parsed).extensions:
        if isinstance(extension.value, x509.CRLNumber):
            number = extension.value.crl_number
        elif isinstance(extension.value, x509.AuthorityKeyIdentifier):
            issuer_key = extension.value.key_identifier
        elif isinstance(extension.value, x509.IssuingDistributionPoint):
            _require_complete(extension.value)
        elif extension.critical:
            raise ValueError(
                f"a CRL has the critical extension {extension.oid.dotted_string}, which is not "
                "supported (it may be a delta CRL)"
            )
    if parsed.next_update_utc is None:
        raise ValueError("a CRL has no nextUpdate")
    return Crl(
        issuer=parsed.issuer,
        number=number,
        this_update=parsed.last_update_utc,
        next_update=parsed.next_update_utc,
        revoked={each.serial_number: _entry(each) for each in parsed},
        issuer_key=issuer_key,
        _parsed=parsed,
    )


def status_of(
    certificate: x509.Certificate, issuer: x509.Certificate, crls: Iterable[Crl], now: datetime
) -> Finding:
    """Return what the CRLs of ``issuer`` say about a certificate that ``issuer`` has issued.

    Whether ``issuer`` has issued it, and is trusted, is for the caller to check.
    """
    signed = [crl for crl in crls if crl.is_signed_by(issuer)]
    if not signed:
        return Finding(Status.UNKNOWN, f"no CRL is signed by {_name(issuer)}")
    crl = max(signed, key=lambda each: (each.number, each.this_update))
    entry = crl.revoked.get(certificate.serial_number)
    if entry is not None:
        reason = f" ({entry.reason})" if entry.reason else ""
        return Finding(Status.REVOKED, f"{_name(certificate)} was revoked at {entry.at}{reason}")
    if crl.next_update <= now:
        return Finding(Status.UNKNOWN, f"the CRL of {_name(issuer)} expired at {crl.next_update}")
    if crl.this_update > now:
        return Finding(
            Status.UNKNOWN, f"the CRL of {_name(issuer)} is valid only from {crl.this_update}"
        )
    return Finding(Status.GOOD, f"CRL {crl.number} of {_name(issuer)} does not list it")


def check_chain(chain: Sequence[x509.Certificate], crls: Sequence[Crl], now: datetime) -> None:
    """Check a chain that TLS has verified: leaf, intermediates, root.

    Raise CertificateRevoked or RevocationUnknown. A leaf without its issuer is of unknown status.
    """
    unknown = None if len(chain) > 1 else "the chain holds no issuer of the certificate"
    for position, (certificate, issuer) in enumerate(pairwise(chain)):
        finding = status_of(certificate, issuer, crls, now)
        if finding.status is Status.REVOKED:
            raise CertificateRevoked(finding.why)
        if finding.status is Status.GOOD:
            continue
        if position == 0 or any(crl.states(issuer) for crl in crls):
            unknown = unknown or finding.why
    if unknown is not None:
        raise RevocationUnknown(unknown)


def own_revocation(
    chain: Sequence[x509.Certificate],
    roots: Iterable[x509.Certificate],
    crls: Sequence[Crl],
    now: datetime,
) -> str | None:
    """Return which certificate of this host's own chain is revoked, and why; None without one.

    ``chain``: the leaf and its intermediates. A CRL that is missing or expired revokes nothing.
    """
    above = [[each] for each in chain[1:]] + [list(roots)]
    for certificate, issuers in zip(chain, above, strict=False):
        for issuer in issuers:
            finding = status_of(certificate, issuer, crls, now)
            if finding.status is Status.REVOKED:
                return finding.why
    return None


def earliest_end(crls: Iterable[Crl]) -> datetime | None:
    """Return when the first of the CRLs expires; None without CRLs."""
    return min((crl.next_update for crl in crls), default=None)


def _require_complete(point: x509.IssuingDistributionPoint) -> None:
    if (
        point.only_contains_user_certs
        or point.only_contains_ca_certs
        or point.only_contains_attribute_certs
        or point.only_some_reasons
        or point.indirect_crl
    ):
        raise ValueError("a CRL covers only a part of its issuer's certificates")


def _entry(revoked: x509.RevokedCertificate) -> RevokedSerial:
    reason = None
    for extension in readable(revoked).extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = extension.value.reason.value
        elif extension.critical:
            raise ValueError(
                f"an entry has the critical extension {extension.oid.dotted_string}, which is not "
                "supported"
            )
    return RevokedSerial(revoked.serial_number, revoked.revocation_date_utc, reason)


def _may_sign(issuer: x509.Certificate) -> bool:
    """Return whether the key usage lets the issuer sign CRLs; without a key usage it may."""
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _verifies(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
