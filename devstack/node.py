"""The common parts of all node processes: configuration, identity, tables, health."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.node.identity import load_identity
from custody.runtime.signing_key import create_signing_key
from devstack import configuration_file
from devstack.certificates import Leaf
from devstack.configuration_file import Sections
from devstack.launcher import Launcher
from devstack.processes import LOCALHOST, Program, free_port, run
from devstack.service import Service, clean_environment, command, says_ready


@dataclass(frozen=True)
class Surroundings:
    """The peers of a node: the node API and the node's own database.

    ``send_audit_records``: as in the configuration.
    """

    node_url: str
    job_signing_key: str
    database_url: str
    send_audit_records: bool = False


class Node(Service):
    """One node. ``command_name``: hsm-driver or mpc-signer.

    ``start`` runs ``run_command``. Tests replace it by a command that ends at a given step.
    """

    def __init__(
        self, command_name: str, node_id: str, folder: Path, log: Path, launcher: Launcher
    ) -> None:
        super().__init__(node_id, launcher)
        self.node_id = node_id
        self.group = ""
        self.folder = folder
        self.log = log
        self.config = folder / f"{command_name}.toml"
        self.identity = folder / "identity.pem"
        self.health_port = free_port()
        self._command_name = command_name
        self._sections: Sections = {}
        self._identity_public_key = b""
        self.run_command: Sequence[str | Path] = self.command("run")

    def write_configuration(
        self, surroundings: Surroundings, leaf: Leaf, group: str, slots: int, own: Sections
    ) -> None:
        """Write the configuration, and the identity key if it does not exist yet.

        ``own``: the sections that only this kind of node has.
        """
        self.group = group
        if not self.identity.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            create_signing_key(self.identity)
        self._identity_public_key = self.identity_public_key
        self._sections = {}
        self.add_sections(
            {
                "node": {
                    "id": self.node_id,
                    "group": group,
                    "state_directory": self.folder / "state",
                },
                "control_plane": {
                    "url": surroundings.node_url,
                    "ca": leaf.ca,
                    "certificate": leaf.certificate,
                    "private_key": leaf.private_key,
                    "job_signing_keys": [surroundings.job_signing_key],
                    "send_audit_records": surroundings.send_audit_records,
                },
                "database": {"url": surroundings.database_url},
                "identity": {"private_key": self.identity},
                "health": {"host": LOCALHOST, "port": self.health_port},
                "loop": {"slots": slots},
                **own,
            }
        )

    def add_sections(self, sections: Sections) -> None:
        """Add sections to the configuration file. The node reads it at its next start."""
        self._sections = {**self._sections, **sections}
        configuration_file.write(self.config, self._sections)

    @property
    def identity_public_key(self) -> bytes:
        """Return the public key that other parties pin: Ed25519, 32 bytes.

        It is known also after a drill has deleted the private key with the node's host.
        """
        if self.identity.exists():
            return load_identity(self.identity).public_key
        return self._identity_public_key

    def run(self, what: str, *arguments: str) -> None:
        """Run one of the node's commands; ``what`` names its purpose. Raise OperatorError."""
        run(self.program_of(self.command(*arguments)), what)

    def migrate(self) -> None:
        """Bring the node's database to this version's schema. Raise OperatorError."""
        self.run("make the node's tables", "migrate")

    def program(self) -> Program:
        return self.program_of(self.run_command)

    def is_ready(self) -> bool:
        return says_ready(self.health_port)

    def command(self, *arguments: str) -> list[str | Path]:
        """Return a command line as an operator types it."""
        return [command(self._command_name), "--config", self.config, *arguments]

    def program_of(self, arguments: Sequence[str | Path]) -> Program:
        """Return the program of a command line, in this node's folder and environment."""
        return Program(
            self.node_id, arguments, self.folder, self.log, clean_environment(**self.environment())
        )

    def environment(self) -> dict[str, str | Path]:
        """Return the environment variables that this kind of node needs."""
        return {}
