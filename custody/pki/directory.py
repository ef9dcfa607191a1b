"""The folder that holds a PKI.

    root/certificate.pem  private_key.pem    belongs offline once the intermediate is made
    intermediate/certificate.pem  private_key.pem  ca.pem
                                             issues leaves; belongs off the nodes' hosts
    root/index.json  intermediate/index.json every certificate that each issued or revoked
    crl.pem                                  the last CRL of each, for all hosts
    nodes/<id>/certificate.pem  private_key.pem  ca.pem
    servers/<name>/certificate.pem  private_key.pem  ca.pem

A leaf's certificate.pem is the chain (leaf, then intermediate) that its host sends to peers; ca.pem
is the root. So a host needs only its leaf's folder. Of a leaf whose host has made the key there is
only the record. An authority whose key is in an HSM has token.json instead of private_key.pem. No
key or certificate is ever overwritten, and a folder appears complete or not at all.
"""

import re
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from custody.pki.authority_keys import PRIVATE_KEY, KeyFile, load_key, plain_file
from custody.pki.certificates import Authority
from custody.pki.records import Records, record_of
from custody.pki.secrets import Secrets
from custody.pki.token_key import TOKEN_FILE
from custody.runtime.configuration import sync_folder, write_new, write_secret
from custody.runtime.errors import OperatorError
from custody.runtime.tls import load_certificates

CERTIFICATE = "certificate.pem"
CA = "ca.pem"
ROOT = "root"
INTERMEDIATE = "intermediate"
NODES = "nodes"
SERVERS = "servers"
CRL = "crl.pem"

LEAF_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


class Directory:
    """Reads and writes the files of one PKI."""

    def __init__(
        self, path: Path, secrets: Secrets | None = None, root_secrets: Secrets | None = None
    ) -> None:
        """``secrets`` open the intermediate's key, ``root_secrets`` the root's."""
        self.path = path
        self._secrets = secrets or Secrets()
        self._root_secrets = root_secrets or self._secrets

    def root(self) -> Authority:
        """Return the root. Raise OperatorError if it is missing or not private."""
        return self._authority(
            ROOT,
            self._root_secrets,
            "Bring the root's folder from its offline place. If nobody has it any more "
            "(docs/how-to/recover/certificates-lost.md), or for a first PKI: pki root.",
        )

    def intermediate(self) -> Authority:
        """Return the intermediate. Raise OperatorError as ``root`` does."""
        todo = "Make one with: pki intermediate"
        return self._authority(INTERMEDIATE, self._secrets, todo)

    def certificate_of(self, authority: str) -> x509.Certificate:
        """Return the certificate of the ``ROOT`` or ``INTERMEDIATE``. Raise OperatorError."""
        return load_certificates(self.path / authority / CERTIFICATE)[0]

    def records(self, authority: str) -> Records:
        """Return what the ``ROOT`` or ``INTERMEDIATE`` has issued and revoked."""
        folder = self.path / authority
        if not folder.is_dir():
            raise OperatorError(
                f"there is no {authority} in {self.path}",
                "Bring the folder to this place, or give another --dir.",
            )
        return Records(folder)

    def root_certificate(self, intermediate: x509.Certificate) -> x509.Certificate:
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
        key: ec.EllipticCurvePrivateKey | KeyFile,
        certificate: x509.Certificate,
        ca: x509.Certificate | None = None,
    ) -> Path:
        """Write the root's or the intermediate's folder; only its owner can read it.

        ``key``: a key itself is stored without encryption. ``ca``: the root that has issued the
        intermediate; the root's index gets a record of that first.
        """
        path = self.require_absent(folder)
        files = {CERTIFICATE: [certificate], **({} if ca is None else {CA: [ca]})}
        if ca is not None:
            with self.records(ROOT).changing() as index:
                index.certificates.append(record_of(certificate))
        key_file = key if isinstance(key, KeyFile) else plain_file(key)
        return self._add(path, key_file, files, 0o700)

    def add_leaf(
        self, kind: str, name: str, key: ec.EllipticCurvePrivateKey, leaf: x509.Certificate
    ) -> Path:
        """Write the record of an issued leaf, then the leaf's folder."""
        path = self.require_absent(kind, name)
        intermediate = self.certificate_of(INTERMEDIATE)
        files = {CERTIFICATE: [leaf, intermediate], CA: [self.root_certificate(intermediate)]}
        with self.records(INTERMEDIATE).changing() as index:
            index.certificates.append(record_of(leaf, name))
        return self._add(path, plain_file(key), files, 0o755)

    def _authority(self, folder: str, secrets: Secrets, todo: str) -> Authority:
        path = self.path / folder
        if not path.is_dir():
            raise OperatorError(f"there is no {folder} in {self.path}", todo)
        if not (path / PRIVATE_KEY).exists() and not (path / TOKEN_FILE).exists():
            raise OperatorError(f"{path / PRIVATE_KEY} is not there", todo)
        certificate = self.certificate_of(folder)
        return Authority(certificate, load_key(path, certificate, secrets))

    def _add(
        self,
        path: Path,
        key: KeyFile,
        files: dict[str, list[x509.Certificate]],
        mode: int,
    ) -> Path:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            write_secret(unfinished / key.name, key.content)
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


def _write_certificates(path: Path, certificates: list[x509.Certificate]) -> None:
    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    write_new(path, pem, 0o644)
