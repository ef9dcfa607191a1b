"""Private keys of people, in files: OpenSSH's or PKCS#8, with a passphrase that is asked for."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_ssh_private_key,
)

from custody.runtime.errors import OperatorError

OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"

WITHOUT_TERMINAL = (
    "Without a terminal, for example in a timer, use a key that has no passphrase: "
    "docs/how-to/systemd.md, 'Secrets as credentials'."
)
AskPassphrase = Callable[[str], str]
"""Asks for a passphrase; the argument names what it opens, usually a file."""


class NotAPrivateKey(ValueError):
    """The file contains no private key that can be read; the text says why."""


class WrongPassphrase(ValueError):
    """The passphrase does not open the private key."""


def ask_passphrase(name: str) -> str:
    """Ask on the terminal for the passphrase of something that exists. It may be empty.

    Raise OperatorError if no answer comes.
    """
    return ask_secret("passphrase", name, WITHOUT_TERMINAL)


def ask_secret(kind: str, name: str, without_terminal: str) -> str:
    """Ask for a secret, such as the passphrase of a key or the PIN of a token. It may be empty.

    ``without_terminal``: what to do if there is no terminal. Raise OperatorError if no answer
    comes.
    """
    with _answered(kind, name, f"Run the command on a terminal. {without_terminal}"):
        secret: str = typer.prompt(
            f"{kind} of {name}",
            default="",
            hide_input=_has_terminal(),
            err=True,
            show_default=False,
        )
    return secret


def ask_new_passphrase(name: str, without_terminal: str = "") -> str:
    """Ask twice for the passphrase of something that is about to be written.

    Raise OperatorError if no answer comes.
    """
    todo = f"Run the command on a terminal, and type the passphrase twice. {without_terminal}"
    with _answered("passphrase", name, todo.rstrip()):
        passphrase: str = typer.prompt(
            f"passphrase of {name}",
            hide_input=_has_terminal(),
            confirmation_prompt=True,
            err=True,
        )
    return passphrase


@contextmanager
def _answered(kind: str, name: str, todo: str) -> Iterator[None]:
    try:
        yield
    except typer.Abort:  # no terminal, or the person ended the question
        raise OperatorError(f"no {kind} was given for {name}", todo) from None


def _has_terminal() -> bool:
    """Return whether an answer could be seen. Without a terminal, getpass warns of an echo."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True


def load_private_key(content: bytes, name: str, ask: AskPassphrase) -> PrivateKeyTypes:
    """Return the private key in the contents of an OpenSSH or PEM file.

    ``ask`` is called only if the key is encrypted. Raise NotAPrivateKey or WrongPassphrase.
    """
    load = load_ssh_private_key if OPENSSH in content else load_pem_private_key
    try:
        return load(content, None)
    except TypeError:
        pass  # it is encrypted
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotAPrivateKey(str(error)) from None
    try:
        return load(content, ask(name).encode() or b"\0")
    except UnsupportedAlgorithm as error:
        raise NotAPrivateKey(str(error)) from None
    except ValueError:
        raise WrongPassphrase(f"the passphrase does not open {name}") from None
