"""hsm-driver processes: configuration and master key; devstack/node.py has the other parts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.certificates import Leaf
from devstack.configuration_file import Sections, Table
from devstack.launcher import Launcher
from devstack.node import Node, Surroundings
from devstack.processes import run_for_output
from devstack.token import Token


@dataclass(frozen=True)
class DriverOptions:
    """``host_signing``: algorithms allowed for host signing, for example ``EdDSA/ed25519``.

    ``workers``: processes that use the HSM; None: as many as cores. ``slots``: jobs at once.
    ``cached_keys``: as in the configuration. ``rewrappable``: the first master key is made so.
    ``more``: further sections, for example [gate].
    """

    group: str = "hsm"
    host_signing: tuple[str, ...] = ("EdDSA/ed25519",)
    workers: int | None = None
    slots: int = 64
    deadline_seconds: float = 10.0
    cached_keys: int = 0
    rewrappable: bool = False
    more: Sections | None = None


class Driver(Node):
    """One driver. Drivers of a group share database and token."""

    def __init__(
        self, node_id: str, folder: Path, log: Path, token: Token, launcher: Launcher
    ) -> None:
        super().__init__("hsm-driver", node_id, folder, log, launcher)
        self._token = token
        self._options = DriverOptions()
        self._hsm: Table = {}

    def configure(self, surroundings: Surroundings, leaf: Leaf, options: DriverOptions) -> None:
        """Write the configuration, and the identity key if it does not exist yet."""
        workers = {} if options.workers is None else {"workers": options.workers}
        self._options = options
        self._hsm = {
            "module": self._token.module,
            "token_label": self._token.label,
            "pin_file": self._token.pin_file,
            "deadline_seconds": options.deadline_seconds,
            "host_signing": options.host_signing,
            "cached_keys": options.cached_keys,
            **workers,
        }
        own: Sections = {"hsm": self._hsm, **(options.more or {})}
        self.write_configuration(surroundings, leaf, options.group, options.slots, own)

    def generate_master_key(self) -> None:
        """Make the token's master key, and accept it if it is weaker. Raise OperatorError."""
        option = ["--rewrappable"] if self._options.rewrappable else []
        self.run("make a master key", "master-key", "generate", *option)
        if self._options.rewrappable:
            listing = self.program_of(self.command("master-key", "list", "--json"))
            keys = json.loads(run_for_output(listing, "list the master keys"))
            self.accept_weaker([key["check_value"] for key in keys])

    def accept_weaker(self, check_values: Sequence[str]) -> None:
        """Name master keys in the configuration that may be weaker, as hex with 0x."""
        self._hsm = {**self._hsm, "weaker_check_values": check_values}
        self.add_sections({"hsm": self._hsm})

    def environment(self) -> dict[str, str | Path]:
        return {"SOFTHSM2_CONF": self._token.configuration}
