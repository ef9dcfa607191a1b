"""Checks of files that come to a host: a certificate, the roots, the CRLs. Nothing is written here.

Each function raises OperatorError for a file that the daemon could not use, or that would let
somebody in who was shut out before.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from custody.pki.chains import BrokenChain, chain_of
from custody.pki.names import names_of
from custody.runtime.errors import OperatorError
from custody.runtime.revocation import Crl


def check_certificate(
    chain: Sequence[x509.Certificate],
    expected: x509.SubjectAlternativeName,
    roots: Sequence[x509.Certificate],
    now: datetime,
    path: Path,
) -> None:
    """Check that a new certificate has the requested names, and leads to a root."""
    if names_of(chain[0]) != set(expected):
        raise OperatorError(
            f"{path} is not for the names of this folder's request",
            "Install the certificate that was made from this folder's request.pem.",
        )
    try:
        chain_of(chain[0], chain[1:], roots, now)
    except BrokenChain as error:
        raise OperatorError(
            f"peers would refuse {path}: {error}",
            "Install the file that `pki sign` made. Under a new root, install that first: "
            "pki install --ca FILE",
        ) from None


def check_roots(
    roots: Sequence[x509.Certificate],
    own_chain: Sequence[x509.Certificate],
    now: datetime,
    path: Path,
) -> None:
    """Check that a new file of roots contains roots only, and the one of this host's certificate.

    ``own_chain`` is empty before this host has a certificate.
    """
    for root in roots:
        try:
            chain_of(root, [], [root], now)
            root.verify_directly_issued_by(root)
        except (BrokenChain, ValueError, TypeError) as error:
            raise OperatorError(
                f"{path} contains {root.subject.rfc4514_string()}, which is not a valid root: "
                f"{error}",
                "Put root certificates only into it.",
            ) from None
    if not own_chain:
        return
    try:
        chain_of(own_chain[0], own_chain[1:], roots, now)
    except BrokenChain as error:
        raise OperatorError(
            f"with {path}, this host's own certificate would be refused: {error}",
            "Keep the old root in the file until each host has a certificate under the new one.",
        ) from None


def check_crls(
    new: Sequence[Crl],
    old: Sequence[Crl],
    authorities: Sequence[x509.Certificate],
    now: datetime,
    path: Path,
) -> None:
    """Check that one of the CRLs is of a known authority, and that none is expired or older.

    CRLs of other authorities stay in the file: during a root rollover this host knows only one of
    the two intermediates. They count for nothing that their own issuer has not issued.
    """
    if not any(_known(crl, authorities) for crl in new):
        raise OperatorError(
            f"{path} contains only CRLs that no authority of this host has signed",
            "Copy the crl.pem that `pki crl` wrote. After a root rollover install the roots and "
            "the certificate first.",
        )
    for crl in new:
        name = crl.issuer.rfc4514_string()
        if crl.next_update <= now:
            raise OperatorError(
                f"the CRL of {name} in {path} expired at {crl.next_update}",
                "Make a new one at the authority: pki crl",
            )
    for crl in old:
        successors = [each for each in new if _same_issuer(each, crl)]
        if any(each.number >= crl.number for each in successors):
            continue
        if not successors and crl.next_update <= now and not _known(crl, authorities):
            continue
        name = crl.issuer.rfc4514_string()
        raise OperatorError(
            f"{path} has no CRL of {name} with number {crl.number} or higher, and the file in use "
            "has",
            "Copy the newest crl.pem of the authority: an older one lets revoked certificates in.",
        )


def _same_issuer(one: Crl, other: Crl) -> bool:
    return one.issuer == other.issuer and one.issuer_key == other.issuer_key


def _known(crl: Crl, authorities: Sequence[x509.Certificate]) -> bool:
    return any(crl.is_signed_by(each) for each in authorities)
