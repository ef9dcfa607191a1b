"""The passphrase of an authority's key, or the PIN of its token: from a file, or asked for."""

from dataclasses import dataclass
from pathlib import Path

from custody.runtime.configuration import read_secret
from custody.runtime.errors import ConfigurationError, OperatorError
from custody.runtime.private_keys import ask_new_passphrase, ask_secret


@dataclass(frozen=True)
class Secrets:
    """Files with the secrets; a secret without a file is asked for on the terminal.

    A file may be a pipe, for example /dev/fd/3 or <(command) of a shell. ``prefix`` is what the
    names of the two options begin with: "root-" for the root's key.
    """

    passphrase_file: Path | None = None
    pin_file: Path | None = None
    prefix: str = ""

    def passphrase(self, name: str) -> str:
        """Return the passphrase of a key that exists. Raise OperatorError."""
        if self.passphrase_file is None:
            return ask_secret("passphrase", name, self._instead("passphrase"))
        return _text(self.passphrase_file, f"the passphrase of {name}")

    def new_passphrase(self, name: str) -> str:
        """Return the passphrase of a key that is about to be written. Raise OperatorError."""
        if self.passphrase_file is None:
            return ask_new_passphrase(name, self._instead("passphrase"))
        return _text(self.passphrase_file, f"the passphrase of {name}")

    def pin(self, token: str) -> str:
        """Return the user PIN of a token. Raise OperatorError."""
        if self.pin_file is not None:
            return _text(self.pin_file, f"the PIN of the token {token}")
        pin = ask_secret("user PIN", f"the token {token}", self._instead("pin"))
        if not pin:
            raise OperatorError(f"no PIN was given for the token {token}", "Nothing was tried.")
        return pin

    def _instead(self, kind: str) -> str:
        return f"Without a terminal: --{self.prefix}{kind}-file FILE (or /dev/fd/N)."


def _text(path: Path, what: str) -> str:
    try:
        text = read_secret(path, what).decode()
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise ConfigurationError(f"{path} does not hold {what}", "Write it there as UTF-8 text.")
    return text
