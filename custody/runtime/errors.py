"""Errors that a person may see."""


class OperatorError(Exception):
    """An error that an operator can correct: what failed, for which object, and what to do next.

    The text never contains a secret. A command prints both lines and exits with 1.
    """

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}\n{todo}")
        self.what = what
        self.todo = todo


class ConfigurationError(OperatorError):
    """The configuration is invalid."""


class SchemaError(OperatorError):
    """The database's schema is not the one that this version needs."""
