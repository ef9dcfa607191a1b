"""Reasons for a revocation, in the words of RFC 5280, section 5.3.1."""

from enum import StrEnum


class Reason(StrEnum):
    """``removeFromCRL`` and ``certificateHold`` are left out: a revocation here is permanent."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION = "cessationOfOperation"

    @property
    def in_crl(self) -> str | None:
        """The reason as a CRL states it: an unspecified one is left out (RFC 5280)."""
        return None if self is Reason.UNSPECIFIED else self.value
