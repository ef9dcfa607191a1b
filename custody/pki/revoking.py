"""Revocation at the authority: on record first, then in the next CRL."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from custody.pki import certificates
from custody.pki.directory import CRL, INTERMEDIATE, ROOT, Directory
from custody.pki.reasons import Reason
from custody.pki.records import Record, Revocation, find, record_of
from custody.runtime.configuration import replace_file
from custody.runtime.errors import OperatorError
from custody.runtime.revocation import Crl, RevokedSerial, from_list, load_crls
from custody.runtime.tls import load_certificates


def revoke(directory: Directory, authority: str, words: str, reason: Reason) -> Record:
    """Record that a certificate of the authority is revoked; on disk when this returns.

    ``words``: a name, a serial in hex, or the path of a certificate. Raise OperatorError if they
    name no certificate or several. A second revocation changes nothing.
    """
    with directory.records(authority).changing() as index:
        given = _from_file(directory, authority, words)
        if given is not None:
            found = find(index, format(given.serial_number, "x"))
            if not found:  # issued here, but the record is lost
                found = [record_of(given)]
                index.certificates.append(found[0])
        else:
            found = find(index, words)
        record = _only(found, words, authority)
        if record.revoked is None:
            record.revoked = Revocation(at=datetime.now(UTC).replace(microsecond=0), reason=reason)
        return record


def publish(directory: Directory, authority: str, days: int, also: Path | None) -> Crl:
    """Sign the authority's next CRL, and put it into crl.pem in place of its last one.

    CRLs of other authorities stay in the file. ``also``: a file whose CRLs are added, for example
    that of the offline root. Raise OperatorError.
    """
    path = directory.path / CRL
    root_only = authority == ROOT
    issuer = directory.root() if root_only else directory.intermediate()
    with directory.records(authority).changing() as index:
        old = load_crls(path) if path.exists() else []
        added = [] if also is None else _added(directory, issuer.certificate, also)
        now = datetime.now(UTC)
        revoked = _with_last(index.revoked(), old, issuer.certificate)
        number = max(index.crl_number, *(crl.number for crl in old), 0) + 1
        number = max(number, int(now.timestamp()))
        until = min(now + timedelta(days=days), issuer.certificate.not_valid_after_utc)
        made = from_list(certificates.issue_crl(issuer, revoked, number, until))
        index.crl_number = number
        kept = [
            crl
            for crl in old
            if not crl.is_signed_by(issuer.certificate) and not _replaced(crl, added)
        ]
        known = [issuer.certificate, *_known_authorities(directory)]
        kept = [
            crl
            for crl in kept
            if crl.next_update > now or any(crl.is_signed_by(each) for each in known)
        ]
        replace_file(path, b"".join(each.public_bytes() for each in [made, *added, *kept]))
        return made


def _only(found: Sequence[Record], words: str, authority: str) -> Record:
    if not found:
        raise OperatorError(
            f"the {authority} has no valid certificate {words!r} on record",
            "See pki list --all. Give a serial, a name, or the file of the certificate; for an "
            "intermediate add --root.",
        )
    if len(found) > 1:
        serials = ", ".join(each.serial for each in found)
        raise OperatorError(
            f"{words} has {len(found)} valid certificates: {serials}",
            "Give the serial of the one to revoke (pki list shows when each expires), and repeat "
            "this for each of them if all must go.",
        )
    return found[0]


def _from_file(directory: Directory, authority: str, words: str) -> x509.Certificate | None:
    path = Path(words)
    if not path.is_file():
        return None
    certificate = load_certificates(path)[0]
    try:
        certificate.verify_directly_issued_by(directory.certificate_of(authority))
    except (ValueError, TypeError, InvalidSignature):
        raise OperatorError(
            f"the {authority} in {directory.path} has not issued the certificate in {path}",
            "Give the --dir of its authority; for an intermediate add --root.",
        ) from None
    return certificate


def _with_last(
    revoked: list[RevokedSerial], old: Sequence[Crl], issuer: x509.Certificate
) -> list[RevokedSerial]:
    """Add what the last CRL lists: a restored index may have forgotten a revocation."""
    serials = {each.serial for each in revoked}
    for crl in old:
        if crl.is_signed_by(issuer):
            revoked = revoked + [
                each for each in crl.revoked.values() if each.serial not in serials
            ]
            serials |= set(crl.revoked)
    return revoked


def _added(directory: Directory, intermediate: x509.Certificate, path: Path) -> list[Crl]:
    crls = load_crls(path)
    root = directory.root_certificate(directory.certificate_of(INTERMEDIATE))
    for crl in crls:
        if not crl.is_signed_by(root) or root == intermediate:
            raise OperatorError(
                f"{path} contains a CRL of {crl.issuer.rfc4514_string()}, and not of this PKI's "
                "root",
                "Give the crl.pem that the root's host made with: pki crl --root",
            )
    return crls


def _replaced(crl: Crl, added: Sequence[Crl]) -> bool:
    """Return whether a newer CRL of the same issuer is among the added ones."""
    for each in added:
        if each.issuer == crl.issuer and each.issuer_key == crl.issuer_key:
            if each.number < crl.number:
                raise OperatorError(
                    f"the CRL of {crl.issuer.rfc4514_string()} to add has number {each.number}, "
                    f"and crl.pem has number {crl.number} already",
                    "Copy the root's newest crl.pem: an older one forgets revocations.",
                )
            return True
    return False


def _known_authorities(directory: Directory) -> list[x509.Certificate]:
    try:
        intermediate = directory.certificate_of(INTERMEDIATE)
        return [intermediate, directory.root_certificate(intermediate)]
    except OperatorError:  # the offline root's host has no intermediate
        return []
