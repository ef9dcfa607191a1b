"""mpc-delivery processes: configuration, start and stop."""

from dataclasses import dataclass
from pathlib import Path

from devstack import configuration_file
from devstack.certificates import Leaf
from devstack.configuration_file import Table
from devstack.launcher import Launcher
from devstack.processes import LOCALHOST, Program, free_port
from devstack.service import Service, clean_environment, command, says_ready


@dataclass(frozen=True)
class DeliveryOptions:
    """``limits``: settings of [limits] that differ from the defaults."""

    limits: Table | None = None


class DeliveryServer(Service):
    """One delivery server. All delivery servers are independent; a ticket names one of them."""

    def __init__(self, name: str, folder: Path, log: Path, launcher: Launcher) -> None:
        super().__init__(name, launcher)
        self.folder = folder
        self.log = log
        self.config = folder / "mpc-delivery.toml"
        self.port = free_port()
        self.health_port = free_port()

    @property
    def url(self) -> str:
        return f"https://{LOCALHOST}:{self.port}"

    def configure(self, job_signing_key: str, leaf: Leaf, options: DeliveryOptions) -> None:
        """Write the configuration."""
        configuration_file.write(
            self.config,
            {
                "server": {
                    "name": self.name,
                    "host": LOCALHOST,
                    "port": self.port,
                    "certificate": leaf.certificate,
                    "private_key": leaf.private_key,
                    "client_ca": leaf.ca,
                },
                "tickets": {"job_signing_keys": [job_signing_key]},
                "limits": options.limits or {},
                "health": {"host": LOCALHOST, "port": self.health_port},
            },
        )

    def program(self) -> Program:
        arguments: list[str | Path] = [command("mpc-delivery"), "--config", self.config, "run"]
        return Program(self.name, arguments, self.folder, self.log, clean_environment())

    def is_ready(self) -> bool:
        return says_ready(self.health_port)
