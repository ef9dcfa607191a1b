"""The TLS files of one host's daemon, and their exchange.

    certificate.pem -> current/certificate.pem   the leaf, then its issuer
    private_key.pem -> current/private_key.pem
    current -> versions/<serial>
    versions/<serial>/certificate.pem  private_key.pem
    pending/private_key.pem  request.pem         until the authority has signed
    ca.pem                                       the roots that this host trusts
    crl.pem                                      what those authorities have revoked

Certificate and key are exchanged by one rename of ``current``: after a crash the old pair or the
new one is there, never a mixture. A reader that opens the two files at the time of the rename may
get one of each; it can tell, since the key then does not belong to the certificate, and reads
both again. Plain files of an older folder become the first version.
"""

import os
import shutil
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from custody.pki.requests import make_request
from custody.runtime.configuration import (
    NEW,
    read_secret,
    replace_file,
    sync_folder,
    write_new,
    write_secret,
)
from custody.runtime.errors import OperatorError
from custody.runtime.tls import load_certificates
from custody.wire.x509_loading import pem_request

CERTIFICATE, PRIVATE_KEY, REQUEST = "certificate.pem", "private_key.pem", "request.pem"
CA, CRL = "ca.pem", "crl.pem"
CURRENT, VERSIONS, PENDING = "current", "versions", "pending"


class HostFiles:
    """The folder of one daemon's certificate. Every method raises OperatorError or OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def certificate(self) -> x509.Certificate | None:
        """Return the leaf that is in use; None before the first one."""
        path = self.path / CERTIFICATE
        return load_certificates(path)[0] if path.exists() else None

    def chain(self) -> list[x509.Certificate]:
        """Return the leaf in use and its issuers; empty before the first one."""
        path = self.path / CERTIFICATE
        return load_certificates(path) if path.exists() else []

    def private_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key in use."""
        return _load_key(self.path / PRIVATE_KEY)

    def pending_request(self) -> x509.CertificateSigningRequest | None:
        """Return the request that waits for its certificate, if there is one."""
        path = self.path / PENDING / REQUEST
        return pem_request(path.read_bytes()) if path.exists() else None

    def request(
        self, name: str, names: x509.SubjectAlternativeName, key: ec.EllipticCurvePrivateKey
    ) -> Path:
        """Write a key and its request as the pending pair. Return the request's path.

        The pair appears complete or not at all, and replaces nothing.
        """
        pending = self.path / PENDING
        self.require_nothing_pending()
        self.path.mkdir(parents=True, exist_ok=True)
        unfinished = self._unfinished(self.path)
        _write_key(unfinished / PRIVATE_KEY, key)
        pem = make_request(name, names, key).public_bytes(Encoding.PEM)
        write_new(unfinished / REQUEST, pem, 0o644)
        try:
            unfinished.rename(pending)
        except OSError:
            shutil.rmtree(unfinished)
            self.require_nothing_pending()
            raise
        sync_folder(self.path)
        return pending / REQUEST

    def require_nothing_pending(self) -> None:
        """Raise OperatorError if a request waits for its certificate."""
        pending = self.path / PENDING
        if pending.exists():
            raise OperatorError(
                f"{pending / REQUEST} waits for its certificate",
                "Get it signed, and run: pki install. To abandon this request and its key: "
                f"rm -r {pending}",
            )

    def install(self, chain: list[x509.Certificate]) -> None:
        """Put a checked certificate in place, with the pending key or the one in use.

        After a crash, the same call finishes the work.
        """
        version = self._version(chain, self._key_of(chain[0]))
        self._take_over_plain_files()
        before = self._current()
        self._point(self.path / CURRENT, Path(VERSIONS) / version.name)
        for name in (PRIVATE_KEY, CERTIFICATE):
            self._point(self.path / name, Path(CURRENT) / name)
        self._forget_pending(chain[0])
        self._remove_all_but({version.name, before or ""})

    def replace(self, name: str, content: bytes) -> None:
        """Replace ca.pem or crl.pem. A reader finds the old file or the new one."""
        path = self.path / name
        if path.exists():
            replace_file(path, content, like_old=True)
        else:
            write_new(path, content, 0o644)

    def _key_of(self, leaf: x509.Certificate) -> Path:
        """Return the file of the leaf's private key."""
        for path in (self.path / PENDING / PRIVATE_KEY, self.path / PRIVATE_KEY):
            if path.exists() and _belongs(_load_key(path), leaf):
                return path
        raise OperatorError(
            f"the certificate's key is neither pending nor in use in {self.path}",
            "Install the certificate that was made from this folder's request.pem.",
        )

    def _version(self, chain: list[x509.Certificate], key: Path) -> Path:
        """Return the complete folder of a version, made unless it exists."""
        version = self.path / VERSIONS / f"{chain[0].serial_number:x}"
        if version.exists():
            return version
        version.parent.mkdir(exist_ok=True)
        owner = key.stat()
        unfinished = self._unfinished(version.parent)
        write_secret(unfinished / PRIVATE_KEY, read_secret(key, "the private key") + b"\n")
        pem = b"".join(each.public_bytes(Encoding.PEM) for each in chain)
        write_new(unfinished / CERTIFICATE, pem, 0o644)
        if os.geteuid() == 0:  # the daemon's user made the key, and must be able to read it
            for path in (unfinished, *unfinished.iterdir()):
                os.chown(path, owner.st_uid, owner.st_gid)
        unfinished.rename(version)
        sync_folder(version.parent)
        return version

    def _take_over_plain_files(self) -> None:
        """Make a version of plain files, and point ``current`` to it."""
        paths = [self.path / name for name in (PRIVATE_KEY, CERTIFICATE)]
        if any(path.is_symlink() or not path.exists() for path in paths):
            return
        chain = load_certificates(self.path / CERTIFICATE)
        if not _belongs(self.private_key(), chain[0]):
            return  # a mixture cannot be a version to go back to
        old = self._version(chain, self.path / PRIVATE_KEY)
        self._point(self.path / CURRENT, Path(VERSIONS) / old.name)
        for name in (PRIVATE_KEY, CERTIFICATE):
            self._point(self.path / name, Path(CURRENT) / name)

    def _current(self) -> str | None:
        link = self.path / CURRENT
        return link.readlink().name if link.is_symlink() else None

    def _point(self, link: Path, target: Path) -> None:
        """Make or replace a symbolic link in one step."""
        if link.is_symlink() and link.readlink() == target:
            return
        temporary = link.with_name(f"{NEW}{link.name}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)
        sync_folder(link.parent)

    def _forget_pending(self, leaf: x509.Certificate) -> None:
        pending = self.path / PENDING
        key = pending / PRIVATE_KEY
        if key.exists() and _belongs(_load_key(key), leaf):
            done = pending.with_name(f"{NEW}done")
            if done.exists():
                shutil.rmtree(done)
            pending.rename(done)
            shutil.rmtree(done)

    def _remove_all_but(self, kept: set[str]) -> None:
        """Delete older versions; the last one stays for a way back."""
        for version in (self.path / VERSIONS).iterdir():
            if version.name not in kept:
                shutil.rmtree(version)

    def _unfinished(self, parent: Path) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=NEW, dir=parent))
        folder.chmod(0o755)
        return folder


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(read_secret(path, "a TLS private key"), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OperatorError(
            f"{path} contains no unencrypted private key of an elliptic curve",
            "Move it away, and make a new key with: pki csr",
        )
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _belongs(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bool:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)
