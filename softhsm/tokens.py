"""SoftHSM tokens in a separate folder, apart from the tokens of the machine.

A folder has ``softhsm2.conf`` (its path belongs into SOFTHSM2_CONF), ``tokens/`` and for each
token a file ``LABEL.pin`` with the user PIN, mode 0600.
"""

import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from custody.runtime.configuration import read_secret, write_secret
from custody.runtime.errors import OperatorError

MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),  # Debian
    Path("/usr/lib64/softhsm/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)
LABEL = re.compile(r"[A-Za-z0-9_.-]{1,32}")
PIN_BYTES = 8
CONFIGURATION = """\
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


@dataclass(frozen=True)
class ListedToken:
    """A token as SoftHSM shows it."""

    label: str
    serial: str
    user_pin_initialised: bool


def find_module() -> Path:
    """Return the path of SoftHSM's PKCS#11 library. Raise OperatorError."""
    for module in MODULES:
        if module.exists():
            return module
    raise OperatorError("SoftHSM is not installed", "Run: apt-get install softhsm2")


class TokenFolder:
    """A folder of tokens. Every method raises OperatorError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.configuration = self.folder / "softhsm2.conf"
        self._tokens = self.folder / "tokens"
        self._module = find_module()

    @property
    def module(self) -> Path:
        return self._module

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a process sees these tokens."""
        return {"SOFTHSM2_CONF": str(self.configuration), "PKCS11_MODULE": str(self._module)}

    def pin_file(self, label: str) -> Path:
        return self.folder / f"{label}.pin"

    def make(self, label: str, pin: str | None = None) -> Path:
        """Make a token. Return the file with its PIN, which is random unless given."""
        _check_label(label)
        self._prepare()
        if any(token.label == label for token in self.list()):
            raise OperatorError(
                f"{self.folder} has a token {label!r} already",
                "Choose another label, or delete this token: "
                f"softhsm/token --folder {self.folder} wipe {label}",
            )
        user_pin = secrets.token_hex(PIN_BYTES) if pin is None else pin
        self.pin_file(label).unlink(missing_ok=True)
        write_secret(self.pin_file(label), user_pin.encode())
        self._run(
            "--init-token", "--free", "--label", label, "--pin", user_pin,
            "--so-pin", secrets.token_hex(PIN_BYTES),
        )  # fmt: skip
        return self.pin_file(label)

    def list(self) -> list[ListedToken]:
        """Return the tokens of this folder; none if the folder does not exist yet."""
        if not self.configuration.exists():
            return []
        shown = self._run("--show-slots")
        tokens = []
        for slot in re.split(r"^Slot \d+$", shown, flags=re.MULTILINE)[1:]:
            fields = dict(re.findall(r"^\s+([A-Za-z .]+?):\s+(.*?)\s*$", slot, re.MULTILINE))
            if fields.get("Initialized") == "yes":
                tokens.append(
                    ListedToken(
                        label=fields["Label"],
                        serial=fields["Serial number"],
                        user_pin_initialised=fields["User PIN init."] == "yes",
                    )
                )
        return sorted(tokens, key=lambda token: token.label)

    def wipe(self, label: str) -> None:
        """Delete a token with every key in it, and its PIN."""
        _check_label(label)
        if all(token.label != label for token in self.list()):
            raise OperatorError(f"{self.folder} has no token {label!r}", self._hint())
        self._run("--delete-token", "--token", label)
        self.pin_file(label).unlink(missing_ok=True)

    def clone(self, label: str, other: "TokenFolder") -> Path:
        """Copy a token with its master key and PIN into another folder. Return the new PIN file.

        This stands for an HSM vendor's cloning or restoring: no key needs to be extractable. A
        SoftHSM token is a folder of files, so a copy of these files is enough. Both tokens have the
        same label and serial number, so they cannot be in one folder.
        """
        if all(token.label != label for token in self.list()):
            raise OperatorError(f"{self.folder} has no token {label!r}", self._hint())
        if any(token.label == label for token in other.list()):
            raise OperatorError(
                f"{other.folder} has a token {label!r} already",
                "Choose another folder, or delete this token: "
                f"softhsm/token --folder {other.folder} wipe {label}",
            )
        other._prepare()
        serial = next(token.serial for token in self.list() if token.label == label)
        for source in self._tokens.iterdir():
            if source.name.replace("-", "").endswith(serial):
                shutil.copytree(source, other._tokens / source.name)
        other.pin_file(label).unlink(missing_ok=True)
        write_secret(other.pin_file(label), read_secret(self.pin_file(label), "the token's PIN"))
        return other.pin_file(label)

    def _hint(self) -> str:
        return f"List the tokens: softhsm/token --folder {self.folder} list"

    def _prepare(self) -> None:
        self._tokens.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.configuration.write_text(CONFIGURATION.format(tokens=self._tokens))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["softhsm2-util", "--module", str(self._module), *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise OperatorError(
                f"softhsm2-util {arguments[0]} failed: {said}",
                f"Check that this user can write to {self.folder}.",
            )
        return done.stdout


def _check_label(label: str) -> None:
    if not LABEL.fullmatch(label):
        raise OperatorError(
            f"{label!r} is not a label for a token", "Use 1 to 32 letters, digits, '_', '.', '-'."
        )
