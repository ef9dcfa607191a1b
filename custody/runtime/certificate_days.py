"""How long certificates and CRLs are still valid, and when that is too short. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509

from custody.runtime.certificate_settings import CertificatesSection
from custody.runtime.revocation import Crl

PART_OF_LIFE = 3
"""A certificate that lives for hours only is due in the last third of its life."""
DAY = timedelta(days=1)


class Role(StrEnum):
    LEAF = "leaf"
    INTERMEDIATE = "intermediate"
    ROOT = "root"
    CRL = "crl"


@dataclass(frozen=True)
class Validity:
    """The validity of a certificate or a CRL. ``name``: its subject, or the CRL's issuer."""

    role: Role
    name: str
    begins: datetime
    ends: datetime

    def days_left(self, now: datetime) -> float:
        """Return the days until the end, negative after the end."""
        return (self.ends - now) / DAY

    def is_due(self, now: datetime, limits: CertificatesSection) -> bool:
        """Return whether it ends within its limit.

        The limit is the days of the configuration, or a third of its life if that is less.
        """
        is_authority = self.role in (Role.INTERMEDIATE, Role.ROOT)
        days = limits.authority_days if is_authority else limits.leaf_days
        return self.ends - now < min(days * DAY, (self.ends - self.begins) / PART_OF_LIFE)

    def problem(self, now: datetime) -> str:
        """Return what an operator reads: a text that stays the same until the end."""
        verb = "ended" if self.ends <= now else "ends"
        what = (
            f"the CRL of {self.name}" if self.role is Role.CRL else f"the {self.role} {self.name}"
        )
        return f"{what} {verb} at {self.ends:%Y-%m-%d %H:%M} UTC"


def validities(
    chain: Sequence[x509.Certificate], roots: Iterable[x509.Certificate], crls: Iterable[Crl]
) -> list[Validity]:
    """Return the validity of each certificate and CRL. ``chain``: leaf first, may be empty."""
    known = list(roots)
    found = [
        _of_certificate(Role.INTERMEDIATE if position else Role.LEAF, certificate)
        for position, certificate in enumerate(chain)
        if certificate not in known
    ]
    found += [_of_certificate(Role.ROOT, root) for root in known]
    return found + [
        Validity(Role.CRL, _text(crl.issuer), crl.this_update, crl.next_update) for crl in crls
    ]


def fewest_days(found: Iterable[Validity], now: datetime) -> dict[Role, float]:
    """Return the days left of each role's first end."""
    fewest: dict[Role, float] = {}
    for each in found:
        days = each.days_left(now)
        fewest[each.role] = min(days, fewest.get(each.role, days))
    return fewest


def _of_certificate(role: Role, certificate: x509.Certificate) -> Validity:
    return Validity(
        role,
        _text(certificate.subject),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _text(name: x509.Name) -> str:
    return name.rfc4514_string()
