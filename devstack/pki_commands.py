"""The `pki` command, as the operator of a PKI types it."""

from pathlib import Path

from devstack.processes import Program, run
from devstack.service import clean_environment, command


class PkiCommands:
    """Runs `pki` on a folder."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self._log = log

    def run(self, *arguments: str) -> None:
        """Run a command. Raise OperatorError."""
        line: list[str | Path] = [command("pki"), *arguments, "--dir", self.folder]
        program = Program("pki", line, self.folder.parent, self._log, clean_environment())
        run(program, f"run pki {' '.join(arguments)}")
