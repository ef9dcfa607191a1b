"""The freeze: a file on this host stops all work of its node, until an operator takes it away.

It needs no database and no control plane, and holds across restarts. Whatever cannot be read
counts as frozen.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from custody.runtime.configuration import replace_file, sync_folder
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name

NAME = "frozen"


class Freeze:
    """Asked before a job is handled, and again before what it made is committed."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME

    def problem(self) -> str | None:
        """Return who froze this node, when and why; None while it is not frozen."""
        try:
            said = json.loads(self._file.read_bytes())
            return f"frozen at {said['at']} by {said['by']}: {said['reason']}"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"frozen: {self._file} is there and does not say why ({type(error).__name__})"

    def freeze(self, reason: str) -> None:
        """On disk when this returns; a freeze that is there stays as it was.

        On a full disk an empty file freezes as well, without a reason in it.
        """
        said = {"at": datetime.now(UTC).isoformat(), "by": operator_name(), "reason": reason}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._file.exists():
                self._write(json.dumps(said).encode())
        except OSError as error:
            raise OperatorError(
                f"cannot write {self._file}: {error.strerror}",
                "Stop the daemon instead, as long as that is so.",
            ) from None

    def _write(self, content: bytes) -> None:
        try:
            replace_file(self._file, content)
        except OSError:
            self._file.touch(mode=0o600)
            sync_folder(self._file.parent)

    def unfreeze(self) -> bool:
        """Take the freeze away, for good when this returns. False when there was none."""
        try:
            self._file.unlink()
            sync_folder(self._file.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise OperatorError(
                f"cannot take {self._file} away: {error.strerror}",
                "Run this as the user who may write to that folder.",
            ) from None
        return True
