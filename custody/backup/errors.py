"""Errors of backup commands, each with its exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

from custody.runtime.console import (
    EXIT_CANNOT_DECRYPT,
    EXIT_COULD_NOT_CHECK,
    EXIT_DAMAGED,
    EXIT_FAILED,
    EXIT_NOTHING_THERE,
    fail,
    operator_errors,
)
from custody.runtime.errors import OperatorError

EXIT_CODES = """Exit code 0: done and good; 1: failed, or the backup is not good; 2: the check could
not be done; 3: there is no backup; 4: the file is damaged, forged, or another file than its name
says; 5: none of the given private keys decrypts it."""


class BackupError(OperatorError):
    """An error that ends a backup command with ``exit_code``."""

    exit_code = EXIT_FAILED


class NotGood(BackupError):
    """The backup can be read, but what it contains cannot be used."""


class NothingThere(BackupError):
    """There is no backup."""

    exit_code = EXIT_NOTHING_THERE


class NotReadable(BackupError):
    """The file could not be read, so nothing is known about it."""

    exit_code = EXIT_COULD_NOT_CHECK


class Damaged(BackupError):
    """The file is not the backup that this node made under this name."""

    exit_code = EXIT_DAMAGED


class CannotDecrypt(BackupError):
    """The backup is encrypted to other recipients than the given private keys."""

    exit_code = EXIT_CANNOT_DECRYPT


@contextmanager
def backup_errors(otherwise: int = EXIT_FAILED) -> Iterator[None]:
    """Wrap a backup command's body: print an error, and exit with its code.

    ``otherwise``: the exit code of all other errors that an operator can correct.
    """
    with operator_errors(otherwise):
        try:
            yield
        except BackupError as error:
            fail(error, error.exit_code)
