"""A SoftHSM token in a folder of its own."""

from pathlib import Path

from softhsm.tokens import TokenFolder


class Token:
    """A token with a random PIN, kept in a file of mode 0600. Raises OperatorError."""

    def __init__(self, folder: Path, label: str = "custody") -> None:
        tokens = TokenFolder(folder)
        self.label = label
        self.pin_file = tokens.make(label)
        self.folder = tokens.folder
        self.module = tokens.module
        self.configuration = tokens.configuration
