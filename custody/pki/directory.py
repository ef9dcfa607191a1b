"""The folder that holds a PKI.

    root/certificate.pem  private_key.pem    belongs offline once the intermediate is made
    intermediate/certificate.pem  private_key.pem  ca.pem
                                             issues leaves; belongs off the nodes' hosts
    intermediate/issued/<serial>.pem         every leaf it ever issued
    nodes/<id>/certificate.pem  private_key.pem  ca.pem
    servers/<name>/certificate.pem  private_key.pem  ca.pem

A leaf's certificate.pem is the chain (leaf, then intermediate) that its host sends to peers; ca.pem
is the root. So a host needs only its leaf's folder. No file is ever overwritten, and a folder
appears complete or not at all.
"""

import re
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from custody.pki.certificates import Authority
from custody.runtime.configuration import read_secret, sync_folder, write_new, write_secret
from custody.runtime.errors import OperatorError
from custody.runtime.tls import load_certificates

CERTIFICATE = "certificate.pem"
PRIVATE_KEY = "private_key.pem"
CA = "ca.pem"
ROOT = "root"
INTERMEDIATE = "intermediate"
NODES = "nodes"
SERVERS = "servers"
ISSUED = "issued"

LEAF_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


class Directory:
    """Reads and writes the files of one PKI."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def root(self) -> Authority:
        """Return the root. Raise OperatorError if it is missing or not private."""
        return self._authority(
            ROOT,
            "Bring the root's folder from its offline place. If nobody has it any more "
            "(docs/how-to/recover/certificates-lost.md), or for a first PKI: pki root.",
        )

    def intermediate(self) -> Authority:
        """Return the intermediate. Raise OperatorError as ``root`` does."""
        return self._authority(INTERMEDIATE, "Make one with: pki intermediate")

    def _root_certificate(self, intermediate: x509.Certificate) -> x509.Certificate:
        """Return the root's certificate. The root's own folder may be offline.

        Raise OperatorError if there is none, or if it is not the intermediate's issuer.
        """
        places = (self.path / ROOT / CERTIFICATE, self.path / INTERMEDIATE / CA)
        found = [path for path in places if path.exists()]
        if not found:
            raise OperatorError(
                f"neither {places[0]} nor {places[1]} exists, and each leaf needs the root's "
                "certificate",
                f"Copy the root's certificate, not its private key, to {places[1]}: the ca.pem of "
                "each host is the same file.",
            )
        root = load_certificates(found[0])[0]
        try:
            intermediate.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            raise OperatorError(
                f"the root in {found[0]} has not issued the intermediate in {self.path}",
                "Put the right root's certificate there. Under a new root, make a new "
                "intermediate: move the old folder away, then: pki intermediate",
            ) from None
        return root

    def require_absent(self, *folder: str) -> Path:
        """Return the path of a new folder. Raise OperatorError if it exists."""
        path = self.path.joinpath(*folder)
        if path.exists():
            raise OperatorError(
                f"{path} exists, and pki never overwrites a folder",
                "Choose another name or --dir, or move that folder away if it is no longer used.",
            )
        return path

    def add_authority(
        self,
        folder: str,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        ca: x509.Certificate | None = None,
    ) -> Path:
        """Write the root's or the intermediate's folder; only its owner can read it.

        ``ca``: the root that has issued the intermediate.
        """
        files = {CERTIFICATE: [certificate], **({} if ca is None else {CA: [ca]})}
        return self._add(self.require_absent(folder), key, files, 0o700)

    def add_leaf(
        self, kind: str, name: str, key: ec.EllipticCurvePrivateKey, leaf: x509.Certificate
    ) -> Path:
        """Write the record of an issued leaf, then the leaf's folder."""
        path = self.require_absent(kind, name)
        intermediate = load_certificates(self.path / INTERMEDIATE / CERTIFICATE)[0]
        files = {CERTIFICATE: [leaf, intermediate], CA: [self._root_certificate(intermediate)]}
        self._record(leaf)
        return self._add(path, key, files, 0o755)

    def _authority(self, folder: str, todo: str) -> Authority:
        path = self.path / folder
        if not path.is_dir():
            raise OperatorError(f"there is no {folder} in {self.path}", todo)
        if not (path / PRIVATE_KEY).exists():
            raise OperatorError(f"{path / PRIVATE_KEY} is not there", todo)
        certificate = load_certificates(path / CERTIFICATE)[0]
        pem = read_secret(path / PRIVATE_KEY, f"the {folder}'s private key")
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            raise OperatorError(
                f"{path / PRIVATE_KEY} is not a plain PEM private key",
                "Restore the file that pki wrote.",
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not _belongs(key, certificate):
            raise OperatorError(
                f"{path / PRIVATE_KEY} is not the key of the certificate beside it",
                "Restore the two files that pki wrote together.",
            )
        return Authority(certificate, key)

    def _record(self, leaf: x509.Certificate) -> None:
        issued = self.path / INTERMEDIATE / ISSUED
        issued.mkdir(mode=0o700, exist_ok=True)
        _write_certificates(issued / f"{leaf.serial_number:x}.pem", [leaf])

    def _add(
        self,
        path: Path,
        key: ec.EllipticCurvePrivateKey,
        files: dict[str, list[x509.Certificate]],
        mode: int,
    ) -> Path:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            write_secret(unfinished / PRIVATE_KEY, _pem(key))
            for name, certificates in files.items():
                _write_certificates(unfinished / name, certificates)
            unfinished.chmod(mode)
            unfinished.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            raise OperatorError(
                f"cannot write {path}: {error.strerror}", "Give a --dir that you may write to."
            ) from None
        return path


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_certificates(path: Path, certificates: list[x509.Certificate]) -> None:
    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    write_new(path, pem, 0o644)


def _belongs(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bool:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)
