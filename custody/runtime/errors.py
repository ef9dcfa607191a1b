"""Errors that a person may see."""


class OperatorError(Exception):
    """An error that an operator can correct: what happened, to what, and what to do next.

    Never carries a secret. A command that ends with it prints both lines and exits 1.
    """

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}\n{todo}")
        self.what = what
        self.todo = todo


class ConfigurationError(OperatorError):
    """The configuration cannot be used as it stands."""


class SchemaError(OperatorError):
    """The database's schema is not the one that this version needs."""
