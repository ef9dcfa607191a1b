"""A SoftHSM token in a folder of its own."""

import os
import secrets
import subprocess
from pathlib import Path

from daemon.configuration import write_secret
from daemon.errors import OperatorError

MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),  # Debian
    Path("/usr/lib64/softhsm/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)


class Token:
    """A token with a random PIN, kept in a file of mode 0600."""

    def __init__(self, folder: Path, label: str = "custody") -> None:
        self.folder = folder
        self.label = label
        self.module = find_module()
        self.configuration = folder / "softhsm2.conf"
        self.pin_file = folder / "pin"
        (folder / "tokens").mkdir(parents=True, mode=0o700)
        self.configuration.write_text(
            f"directories.tokendir = {folder / 'tokens'}\n"
            "objectstore.backend = file\n"
            "log.level = ERROR\n"
            "slots.removable = false\n"
        )
        pin = secrets.token_hex(8)
        write_secret(self.pin_file, pin.encode())
        self._initialise(pin)

    def _initialise(self, pin: str) -> None:
        officer_pin = secrets.token_hex(8)
        command = ["softhsm2-util", "--module", str(self.module), "--init-token", "--free"]
        done = subprocess.run(
            [*command, "--label", self.label, "--pin", pin, "--so-pin", officer_pin],
            env={**os.environ, "SOFTHSM2_CONF": str(self.configuration)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise OperatorError(
                f"softhsm2-util could not make a token: {done.stderr.strip()}",
                f"See whether {self.folder} can be written to.",
            )


def find_module() -> Path:
    """SoftHSM's PKCS#11 library. Raises OperatorError."""
    for module in MODULES:
        if module.exists():
            return module
    raise OperatorError("SoftHSM is not installed", "apt-get install softhsm2")
