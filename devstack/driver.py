"""hsm-driver processes: configuration, master key, start and stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from daemon.signing_key import create_signing_key
from devstack import configuration_file
from devstack.certificates import Leaf
from devstack.launcher import Launcher
from devstack.processes import LOCALHOST, Program, free_port, run
from devstack.service import Service, clean_environment, command
from devstack.token import Token


@dataclass(frozen=True)
class DriverOptions:
    """``host_signing``: algorithms that may be signed on the host, as ``EdDSA/ed25519``.

    ``workers``: processes that use the HSM; None: as many as cores. ``slots``: jobs at once.
    """

    group: str = "hsm"
    host_signing: tuple[str, ...] = ("EdDSA/ed25519",)
    workers: int | None = None
    slots: int = 64
    deadline_seconds: float = 10.0


@dataclass(frozen=True)
class Surroundings:
    """What a driver talks to: the node API and its group's database."""

    node_url: str
    job_signing_key: str
    database_url: str


class Driver(Service):
    """One driver. Drivers of a group share database and token.

    ``run_command`` is what ``start`` runs; tests put in their own, which ends at a given step.
    """

    def __init__(
        self, node_id: str, folder: Path, log: Path, token: Token, launcher: Launcher
    ) -> None:
        super().__init__(node_id, launcher)
        self.node_id = node_id
        self.group = ""
        self.folder = folder
        self.log = log
        self.config = folder / "hsm-driver.toml"
        self.health_port = free_port()
        self.run_command: Sequence[str | Path] = self._command("run")
        self._token = token

    def configure(self, surroundings: Surroundings, leaf: Leaf, options: DriverOptions) -> None:
        """Write the configuration, and the identity key where there is none yet."""
        self.group = options.group
        identity = self.folder / "identity.pem"
        if not identity.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            create_signing_key(identity)
        workers = {} if options.workers is None else {"workers": options.workers}
        configuration_file.write(
            self.config,
            {
                "node": {
                    "id": self.node_id,
                    "group": options.group,
                    "state_directory": self.folder / "state",
                },
                "control_plane": {
                    "url": surroundings.node_url,
                    "ca": leaf.ca,
                    "certificate": leaf.certificate,
                    "private_key": leaf.private_key,
                    "job_signing_keys": [surroundings.job_signing_key],
                },
                "database": {"url": surroundings.database_url},
                "hsm": {
                    "module": self._token.module,
                    "token_label": self._token.label,
                    "pin_file": self._token.pin_file,
                    "deadline_seconds": options.deadline_seconds,
                    "host_signing": options.host_signing,
                    **workers,
                },
                "identity": {"private_key": identity},
                "health": {"host": LOCALHOST, "port": self.health_port},
                "loop": {"slots": options.slots},
            },
        )

    def generate_master_key(self) -> None:
        """Make the token's master key. Raises OperatorError."""
        run(self._program(self._command("master-key", "generate")), "make a master key")

    def migrate(self) -> None:
        """Bring the group's database to this version's schema. Raises OperatorError."""
        run(self._program(self._command("migrate")), "make the driver's tables")

    def program(self) -> Program:
        return self._program(self.run_command)

    def is_ready(self) -> bool:
        try:
            url = f"http://{LOCALHOST}:{self.health_port}/readyz"
            return httpx.get(url, trust_env=False, timeout=2).is_success
        except httpx.TransportError:
            return False

    def _command(self, *arguments: str) -> list[str | Path]:
        return [command("hsm-driver"), "--config", self.config, *arguments]

    def _program(self, arguments: Sequence[str | Path]) -> Program:
        environment = clean_environment(SOFTHSM2_CONF=self._token.configuration)
        return Program(self.node_id, arguments, self.folder, self.log, environment)
