"""The PIN: where it is read, and the memory that makes a wrong one be tried only once.

Real HSMs lock after a few wrong PINs, so before a PIN that has not yet worked is tried, that is
written down, and the answer after it. What is remembered is the identity of the PIN's source,
never anything made from the PIN. A file's identity changes when the file does. A systemd
credential is a new file at each start, so a refusal sticks to its name until somebody says
explicitly that it may be tried again.
"""

import asyncio
import codecs
import fcntl
import json
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from custody.pkcs11.messages import PinStanding
from custody.pkcs11.settings import HsmSettings, NoPin, PinCredential, PinFile
from custody.pkcs11.token_traits import retry_pin
from custody.runtime.configuration import (
    credential_path,
    read_secret_file,
    replace_file,
    sync_folder,
)
from custody.runtime.errors import ConfigurationError, OperatorError

FILE_NAME = "pin.json"
LOCK_NAME = "pin.lock"
LOCK_POLL_SECONDS = 0.05
_BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp")
"""Unicode's categories of control and format characters, and of separators of lines."""


class PinRefused(OperatorError):
    """The token has refused this PIN before; nothing was tried now."""


class Verdict(StrEnum):
    TRYING = "trying"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    STOPPED = "stopped"


def pin_in(content: bytes) -> str:
    """Return the PIN that a file holds: one line of visible text in UTF-8.

    A newline at the end does not count. Raise ValueError, with the fault of the file. A token
    counts a PIN with an invisible character as a wrong one.
    """
    if content.startswith(_BYTE_ORDER_MARKS):
        raise ValueError("begins with a byte order mark, which an editor wrote")
    line = (
        content.removesuffix(b"\r\n") if content.endswith(b"\r\n") else content.removesuffix(b"\n")
    )
    if not line:
        raise ValueError("is empty: it holds no PIN, or it is being written")
    try:
        pin = line.decode()
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8") from None
    if any(unicodedata.category(each) in _INVISIBLE for each in pin):
        raise ValueError("has more than one line, or an invisible control character")
    if pin != pin.strip():
        raise ValueError("has white space before or after the PIN")
    return pin


def identity(settings: HsmSettings) -> dict[str, Any]:
    """Return a fingerprint that identifies the PIN. Raise ConfigurationError."""
    source: dict[str, Any]
    if isinstance(settings.pin, PinFile):
        try:
            status = settings.pin.path.stat()
        except OSError as error:
            raise ConfigurationError(
                f"cannot find the PIN file {settings.pin.path}: {error.strerror}",
                "Write the token's user PIN into it (chmod 600), or correct pin_file in the "
                "configuration.",
            ) from None
        source = {
            "file": str(settings.pin.path),
            "device": status.st_dev,
            "inode": status.st_ino,
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }
    elif isinstance(settings.pin, PinCredential):
        source = {"credential": settings.pin.name}
    else:
        source = {"login": settings.pin.login}
    traits = settings.traits
    token = {
        "module": str(settings.module),
        "token": settings.token_label,
        "serial": traits.token_serial,
        "slot": traits.slot,
    }
    return {**{name: value for name, value in token.items() if value is not None}, **source}


def _path(pin: PinFile | PinCredential) -> Path:
    return pin.path if isinstance(pin, PinFile) else credential_path(pin.name)


@asynccontextmanager
async def login_turn(settings: HsmSettings) -> AsyncIterator[None]:
    """Wait until no other worker of this state directory logs in.

    Also a PIN that has worked may be wrong by now. So logins are one after the other, and each
    begins by reading whether the one before it was refused.
    """
    folder = settings.state_directory
    with _writable(folder):
        lock = (folder / LOCK_NAME).open("w")
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_SECONDS)
        yield


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the state directory {folder}: {error.strerror}",
            "Make room there, and make it writable for this user: that a PIN is being tried is "
            "written down before it is.",
        ) from None


class PinMemory:
    """The result of trying one PIN, on disk in the state directory. Make a new one for each try."""

    def __init__(self, settings: HsmSettings) -> None:
        """Read the PIN. Raise ConfigurationError if there is none."""
        self._settings = settings
        self._identity = identity(settings)
        self._folder = settings.state_directory
        self._file = self._folder / FILE_NAME

    def standing(self) -> PinStanding:
        """Return the PIN's history. Raise PinRefused if the PIN must not be tried now."""
        match self._verdict():
            case Verdict.STOPPED:
                raise PinRefused(
                    f"the last login to the token {self._settings.token_name!r} failed, and the "
                    "token may have counted it as a wrong PIN, so the PIN is not tried again",
                    f"See in the vendor's tool why the login failed. {self._way_out()}",
                )
            case Verdict.REFUSED:
                raise PinRefused(
                    f"the token {self._settings.token_name!r} has refused this PIN before, "
                    "so it is not tried again",
                    self._way_out(),
                )
            case Verdict.ACCEPTED:
                return PinStanding.PROVEN
            case Verdict.TRYING:
                return PinStanding.UNANSWERED
            case None:
                return PinStanding.NEW

    def remember(self, verdict: Verdict) -> None:
        """Write a verdict down; on disk when this returns. Raises ConfigurationError."""
        if verdict is self._verdict():
            return
        record = json.dumps({"pin": self._identity, "verdict": verdict}).encode()
        with _writable(self._folder):
            replace_file(self._file, record)

    def forget(self) -> None:
        """Let the PIN be tried as if for the first time."""
        with _writable(self._folder):
            self._file.unlink(missing_ok=True)
            sync_folder(self._folder)

    def read(self) -> str:
        """Return the PIN, which is empty for a login without one from here.

        Raise ConfigurationError if the file is unreadable, if it does not hold one line of visible
        text, or if it has changed since this object was made.
        """
        if isinstance(self._settings.pin, NoPin):
            return ""
        path = _path(self._settings.pin)
        content = read_secret_file(path, "the PIN of the HSM's token")
        if identity(self._settings) != self._identity:
            raise ConfigurationError(
                f"the PIN file {path} is being written; nothing was tried",
                "Write a new file beside it and rename that: then it is never seen half-written.",
            )
        try:
            return pin_in(content)
        except ValueError as fault:
            raise ConfigurationError(
                f"the PIN file {path} {fault}; nothing was tried",
                "Write the token's user PIN into it, as one line of plain text.",
            ) from None

    def _verdict(self) -> Verdict | None:
        try:
            record = json.loads(self._file.read_bytes())
            if record["pin"] != self._identity:
                return None
            return Verdict(record["verdict"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return Verdict.TRYING  # unreadable: as careful as after a crash

    def _way_out(self) -> str:
        command = retry_pin(self._settings.token_name)
        if isinstance(self._settings.pin, PinFile):
            return (
                f"Write the right PIN into {self._settings.pin.path}: once the file has changed "
                f"it is tried. If the PIN is right after all: {command}"
            )
        if isinstance(self._settings.pin, NoPin):
            return (
                "If no person enters the PIN at the token, take login out of the configuration. "
                f"Otherwise enter the right PIN at the token, with: {command}"
            )
        return f"Give the right PIN to LoadCredential= and run, with it: {command}"
