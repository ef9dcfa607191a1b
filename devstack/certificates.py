"""A PKI of the stack's own: certificates for the control plane and each node."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from custody.pki import certificates
from custody.pki.authority_keys import PRIVATE_KEY
from custody.pki.directory import CA, CERTIFICATE, INTERMEDIATE, NODES, ROOT, SERVERS
from custody.pki.directory import Directory as PkiDirectory
from custody.pki.names import ServerNames
from custody.runtime.tls import TlsFiles
from devstack.processes import LOCALHOST

DAYS = 30


@dataclass(frozen=True)
class Leaf:
    """A leaf's files: its chain, its private key, and the root."""

    certificate: Path
    private_key: Path
    ca: Path

    @classmethod
    def of(cls, folder: Path) -> "Leaf":
        return cls(folder / CERTIFICATE, folder / PRIVATE_KEY, folder / CA)

    def client(self, use: str = "client") -> TlsFiles:
        """Return the files for a client that shows this leaf."""
        return TlsFiles(use, self.certificate, self.private_key, self.ca)


class Certificates:
    """A new root and intermediate, which issue leaves on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._directory = PkiDirectory(folder)
        root_key = certificates.new_private_key()
        root = certificates.issue_root("Custody local root", root_key, DAYS)
        self._directory.add_authority(ROOT, root_key, root)
        key = certificates.new_private_key()
        intermediate = certificates.issue_intermediate(
            "Custody local intermediate", key.public_key(), self._directory.root(), DAYS
        )
        self._directory.add_authority(INTERMEDIATE, key, intermediate)

    @classmethod
    def existing(cls, folder: Path) -> "Certificates":
        """Return the PKI of a folder that has a root and an intermediate."""
        found = cls.__new__(cls)
        found.folder, found._directory = folder, PkiDirectory(folder)
        return found

    @property
    def ca(self) -> Path:
        """Return the path of the root's certificate, which clients and nodes trust."""
        return self.folder / ROOT / CERTIFICATE

    def server(self, name: str) -> Leaf:
        """Issue a certificate for a server on this machine."""
        key = certificates.new_private_key()
        names = ServerNames(["localhost"], [ipaddress.ip_address(LOCALHOST)])
        issuer = self._directory.intermediate()
        leaf = certificates.issue_server(name, names, key.public_key(), issuer, DAYS)
        return Leaf.of(self._directory.add_leaf(SERVERS, name, key, leaf))

    def node(self, node_id: str) -> Leaf:
        """Issue a node's certificate."""
        key = certificates.new_private_key()
        issuer = self._directory.intermediate()
        leaf = certificates.issue_node(node_id, key.public_key(), issuer, DAYS)
        return Leaf.of(self._directory.add_leaf(NODES, node_id, key, leaf))
