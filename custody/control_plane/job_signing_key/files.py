"""The files of the job-signing key on one replica's host: the current, next and previous key.

The next key lies beside the current one. Switching renames the files, so that the current key's
file exists at every moment, whatever stops the command.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from custody.runtime.configuration import sync_folder
from custody.runtime.errors import ConfigurationError
from custody.runtime.signing_key import create_signing_key, load_signing_key
from custody.wire.signed_bytes import SigningKey


@dataclass(frozen=True)
class KeyFiles:
    """``current``: the file that the setting ``signing_key`` in [jobs] names."""

    current: Path

    @property
    def next(self) -> Path:
        """Return the file of the key that will replace the current one."""
        return self._beside("next")

    @property
    def previous(self) -> Path:
        """Return the file of the key that the current one has replaced."""
        return self._beside("previous")

    def make_next(self) -> tuple[SigningKey, bool]:
        """Return the next key, and whether it is new. Raise ConfigurationError."""
        load_signing_key(self.current, "the job-signing key", "Make one: control-plane init")
        try:
            return create_signing_key(self.next), True
        except FileExistsError:
            key = self.load_next()
            assert key is not None
            return key, False
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self.next}: {os.strerror(error.errno or 0)}",
                "Run this as the user who owns the job-signing key's folder.",
            ) from None

    def load_next(self) -> SigningKey | None:
        """Return the next key; None if there is none. Raise ConfigurationError."""
        if not self.next.exists():
            return None
        todo = "Move that file away, then make another: control-plane job-signing-key next"
        return load_signing_key(self.next, "the next job-signing key", todo)

    def load_previous(self) -> SigningKey | None:
        """Return the previous key; None if there is none. Raise ConfigurationError."""
        if not self.previous.exists():
            return None
        todo = f"Delete {self.previous}: no job is signed with it any more."
        return load_signing_key(self.previous, "the previous job-signing key", todo)

    def switch(self) -> None:
        """Put the next key in the current one's place; keep the current one as the previous.

        After a crash at any point the command can be run again. Raise ConfigurationError.
        """
        old = self._beside("old")
        try:
            with contextlib.suppress(FileNotFoundError):
                old.unlink()  # left over from a switch that was stopped
            os.link(self.current, old)
            old.replace(self.previous)
            with contextlib.suppress(FileNotFoundError):
                old.unlink()  # rename(2) does nothing when both names are the same file
            self.next.replace(self.current)
            sync_folder(self.current.parent)
        except OSError as error:
            raise ConfigurationError(
                f"cannot switch the key files in {self.current.parent}: "
                f"{os.strerror(error.errno or 0)}",
                "Run this as the user who owns that folder. It may be run again at any time.",
            ) from None

    def _beside(self, what: str) -> Path:
        return self.current.with_name(f"{self.current.stem}-{what}{self.current.suffix}")
