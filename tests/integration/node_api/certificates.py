"""Certificates made by the pki command's own parts, once each."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

from custody.pki import certificates
from custody.pki.authority_keys import PRIVATE_KEY
from custody.pki.certificates import Authority
from custody.pki.directory import CA, CERTIFICATE, INTERMEDIATE, NODES, ROOT, SERVERS, Directory
from custody.pki.names import ServerNames
from custody.runtime.tls import TlsFiles


class Certificates:
    """A PKI in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._directory = Directory(folder)
        key = certificates.new_private_key()
        root = certificates.issue_root("test root", key, 10)
        self._directory.add_authority(ROOT, key, root)
        inner = certificates.new_private_key()
        intermediate = certificates.issue_intermediate(
            "test intermediate", inner.public_key(), Authority(root, key), 10
        )
        self._directory.add_authority(INTERMEDIATE, inner, intermediate)

    def server(self) -> Path:
        """The folder of a server on 127.0.0.1."""
        home = self.folder / SERVERS / "node-api"
        if not home.exists():
            key = certificates.new_private_key()
            names = ServerNames(ip=[ipaddress.ip_address("127.0.0.1")])
            leaf = certificates.issue_server(
                "node-api", names, key.public_key(), self._directory.intermediate(), 1
            )
            self._directory.add_leaf(SERVERS, "node-api", key, leaf)
        return home

    def server_files(self) -> TlsFiles:
        """That server's files, for a listener that asks for a client certificate."""
        home = self.server()
        return TlsFiles(
            "node_api",
            home / CERTIFICATE,
            home / PRIVATE_KEY,
            home / CA,
            is_server=True,
        )

    def node(self, node_id: str) -> Path:
        """The folder of a node."""
        home = self.folder / NODES / node_id
        return home if home.exists() else self._issue(node_id)

    def node_that_ends(self, node_id: str, seconds: float) -> Path:
        """A node whose certificate ends so many seconds from now, or ended that long ago."""
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        with patch.object(certificates, "_until", lambda *_: end):
            return self._issue(node_id)

    def node_from(self, node_id: str, seconds: float) -> Path:
        """A renewed certificate that begins so many seconds after the first ones."""
        back = certificates.BACKDATED - timedelta(seconds=seconds)
        folder = self.folder / NODES / node_id
        with patch.object(certificates, "BACKDATED", back):
            if folder.exists():
                folder.rename(folder.with_name(f".{node_id}-{uuid4()}"))
            made = self._issue(node_id)
        renewed = made.with_name(f".{node_id}-{uuid4()}")
        made.rename(renewed)
        return renewed

    def _issue(self, node_id: str) -> Path:
        key = certificates.new_private_key()
        issuer = self._directory.intermediate()
        leaf = certificates.issue_node(node_id, key.public_key(), issuer, 1)
        return self._directory.add_leaf(NODES, node_id, key, leaf)
