"""The freeze: a file on this host stops all work of its node, until an operator removes the file.

The freeze needs no database and no control plane, and survives restarts. A file that cannot be read
counts as a freeze.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from custody.runtime.configuration import replace_file, sync_folder
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name

NAME = "frozen"


class Freeze:
    """The node's freeze. It is checked before a job is handled, and again before the commit."""

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
            return f"frozen: {self._file} exists, but gives no reason ({type(error).__name__})"

    def freeze(self, reason: str) -> None:
        """Freeze the node, with fsync. An existing freeze stays unchanged.

        On a full disk, an empty file without a reason freezes the node too.
        """
        said = {"at": datetime.now(UTC).isoformat(), "by": operator_name(), "reason": reason}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._file.exists():
                self._write(json.dumps(said).encode())
        except OSError as error:
            raise OperatorError(
                f"cannot write {self._file}: {error.strerror}",
                "Stop the daemon instead until the file can be written.",
            ) from None

    def _write(self, content: bytes) -> None:
        try:
            replace_file(self._file, content)
        except OSError:
            self._file.touch(mode=0o600)
            sync_folder(self._file.parent)

    def unfreeze(self) -> bool:
        """Remove the freeze, with fsync. Return False if there was none."""
        try:
            self._file.unlink()
            sync_folder(self._file.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise OperatorError(
                f"cannot remove {self._file}: {error.strerror}",
                "Run the command as a user who may write to that folder.",
            ) from None
        return True
