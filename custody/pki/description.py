"""Description of a certificate, in words and in JSON."""

from datetime import UTC, datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from pydantic import AwareDatetime

from custody.wire.encoding import Model
from custody.wire.nodes import URN_PREFIX, node_of


class Description(Model):
    """``identity`` is a node's id, or the names and addresses of a server; null for authorities."""

    kind: Literal["root", "intermediate", "node", "server", "other"]
    subject: str
    identity: str | None
    issuer: str
    serial: str
    not_before: AwareDatetime
    not_after: AwareDatetime
    days_left: int
    sha256: str


def describe(certificate: x509.Certificate, now: datetime | None = None) -> Description:
    """Describe one certificate; ``days_left`` is negative once it has expired."""
    left = certificate.not_valid_after_utc - (now or datetime.now(UTC))
    kind, identity = _kind_and_identity(certificate)
    return Description(
        kind=kind,
        subject=_common_name(certificate.subject),
        identity=identity,
        issuer=_common_name(certificate.issuer),
        serial=format(certificate.serial_number, "x"),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        days_left=left.days,
        sha256=certificate.fingerprint(SHA256()).hex(),
    )


def _kind_and_identity(
    certificate: x509.Certificate,
) -> tuple[Literal["root", "intermediate", "node", "server", "other"], str | None]:
    if _is_authority(certificate):
        is_root = certificate.subject == certificate.issuer
        return ("root" if is_root else "intermediate"), None
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "other", None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if any(uri.startswith(URN_PREFIX) for uri in uris):
        try:
            return "node", node_of(certificate)
        except ValueError:
            return "other", ", ".join(uris)
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return "server", ", ".join([*names.get_values_for_type(x509.DNSName), *addresses])


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
