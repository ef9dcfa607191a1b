"""The software tokens that the HSM tests run on, and what each of them can do."""

import secrets
import shutil
import subprocess
from pathlib import Path

from custody.runtime.configuration import write_secret
from softhsm.tokens import TokenFolder

ROOT = Path(__file__).parents[2]
KRYOPTIC_MODULE = ROOT / "build" / "providers" / "libkryoptic.so"

SOFTHSM, KRYOPTIC = "softhsm", "kryoptic"
CAPABILITIES: dict[str, frozenset[str]] = {
    SOFTHSM: frozenset({"secp256k1", "precise errors"}),
    KRYOPTIC: frozenset({"ed25519 inside"}),
}
"""What tests may need, by token. ``precise errors``: a code that says that a wrapped key is bad."""


def build_kryoptic() -> None:
    """Compile Kryoptic unless that was done before. Takes 50 ms then, and else some minutes."""
    subprocess.run([ROOT / "devstack" / "providers.sh", KRYOPTIC], check=True)


class KryopticToken:
    """A folder with one token of Kryoptic, its configuration and its PIN: as TokenFolder has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._configuration = self.folder / "kryoptic.conf"
        self._database = self.folder / "token.sql"

    @property
    def module(self) -> Path:
        return KRYOPTIC_MODULE

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a process sees this token."""
        return {"KRYOPTIC_CONF": str(self._configuration), "PKCS11_MODULE": str(self.module)}

    def pin_file(self, label: str) -> Path:
        return self.folder / f"{label}.pin"

    def make(self, label: str, pin: str | None = None) -> None:
        """Make the token, with a random PIN unless one is given."""
        self._configure()
        officer = secrets.token_hex(8)
        pin = secrets.token_hex(8) if pin is None else pin
        write_secret(self.pin_file(label), pin.encode())
        for arguments in (
            ["--init-token", "--label", label],
            ["--login", "--login-type", "so", "--init-pin", "--new-pin", pin],
        ):
            subprocess.run(
                ["pkcs11-tool", "--module", self.module, "--so-pin", officer, *arguments],
                env=self.environment,
                capture_output=True,
                check=True,
            )

    def wipe(self, label: str) -> None:
        """Delete the token with every key in it, and its PIN."""
        self._database.unlink()
        self.pin_file(label).unlink()

    def copy_to(self, label: str, other: "KryopticToken") -> None:
        """Copy the token with its keys and its PIN, as a vendor's cloning does."""
        other._configure()
        for name in (self._database.name, self.pin_file(label).name):
            shutil.copy2(self.folder / name, other.folder / name)

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._configuration.write_text(
            f'[[slots]]\nslot = 0\ndbtype = "sqlite"\ndbargs = "{self._database}"\n'
        )


Tokens = TokenFolder | KryopticToken
KINDS: dict[str, type[TokenFolder] | type[KryopticToken]] = {
    SOFTHSM: TokenFolder,
    KRYOPTIC: KryopticToken,
}
