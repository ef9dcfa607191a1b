"""The example of a validation gate (docs/examples/gate), as a process."""

import json
import secrets
import shutil
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from custody.runtime.configuration import replace_file, write_secret
from devstack.certificates import Leaf
from devstack.configuration_file import Table
from devstack.launcher import Launcher
from devstack.processes import LOCALHOST, Program, free_port
from devstack.service import Service, clean_environment

BY_HAND = ("RefreshKey", "RepairShare", "UnarchiveKey", "ImportKey", "DealShares")
EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "gate"


class ExampleGate(Service):
    """A copy of the example's folder with a certificate and an HMAC key of its own.

    ``leaf``: the server's certificate. ``mutual``: the gate accepts only clients with a certificate
    under the same root.
    """

    def __init__(
        self, name: str, folder: Path, leaf: Leaf, launcher: Launcher, *, mutual: bool = False
    ) -> None:
        super().__init__(name, launcher)
        shutil.copytree(EXAMPLE, folder)
        self.folder = folder
        self.log = folder / "gate.log"
        self.hmac_key_file = folder / "gate-hmac.key"
        write_secret(self.hmac_key_file, secrets.token_hex(32).encode())
        self._leaf = leaf
        self._port = free_port()
        config: dict[str, str | int] = {
            "host": LOCALHOST,
            "port": self._port,
            "certificate": str(leaf.certificate),
            "private_key": str(leaf.private_key),
            "hmac_key_file": self.hmac_key_file.name,
            "policy": "policy.toml",
            "decisions": "decisions",
            **({"client_ca": str(leaf.ca)} if mutual else {}),
        }
        self._config = folder / "gate.toml"
        _write(self._config, config)

    @property
    def url(self) -> str:
        return f"https://{LOCALHOST}:{self._port}/"

    def settings(self) -> Table:
        """Return the section [gate] of a node that asks this gate."""
        return {"url": self.url, "ca": self._leaf.ca, "hmac_key_file": self.hmac_key_file}

    def set_policy(
        self,
        *,
        applications: Sequence[str] = (),
        by_hand: Sequence[str] = BY_HAND,
        bare_hashes: str = "pending",
        refuse_words: Sequence[str] = ("drain",),
        approve_up_to: int = 200,
    ) -> None:
        """Replace the policy. The gate reads the new policy at its next question."""
        policy = {
            "applications": list(applications),
            "by_hand": list(by_hand),
            "bare_hashes": bare_hashes,
            "refuse_words": list(refuse_words),
            "approve_up_to": approve_up_to,
        }
        _write(self.folder / "policy.toml", policy)

    def waiting(self) -> list[str]:
        """Return the names of the questions that a person must decide."""
        return sorted(path.stem for path in (self.folder / "decisions").glob("*.json"))

    def decide(self, name: str, decision: str, reason: str) -> None:
        """Write a person's decision: approve or reject."""
        replace_file(self.folder / "decisions" / name, f"{decision} {reason}".encode())

    def program(self) -> Program:
        arguments: list[str | Path] = [
            sys.executable,
            self.folder / "handler.py",
            "--config",
            self._config,
        ]
        return Program(self.name, arguments, self.folder, self.log, clean_environment())

    def is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self._leaf.ca))
        try:
            with (
                socket.create_connection((LOCALHOST, self._port), timeout=2) as plain,
                context.wrap_socket(plain, server_hostname=LOCALHOST),
            ):
                return True
        except OSError:
            return False


def _write(path: Path, values: Mapping[str, object]) -> None:
    """Replace a TOML file atomically. Its values have the same form in JSON."""
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in values.items()]
    replace_file(path, "".join(lines).encode())
