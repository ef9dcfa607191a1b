"""The PIN: where it is read, and the memory that makes a wrong one be tried only once.

Real HSMs lock after a few wrong PINs, so before a PIN that has not yet worked is tried, that is
written down, and the answer after it. What is remembered is the identity of the PIN's source,
never anything made from the PIN. A file's identity changes when the file does. A systemd
credential is a new file at each start, so a refusal sticks to its name until somebody says
explicitly that it may be tried again.
"""

import asyncio
import fcntl
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from custody.pkcs11.messages import PinStanding
from custody.pkcs11.settings import HsmSettings, PinFile
from custody.runtime.configuration import credential_path, read_secret, replace_file, sync_folder
from custody.runtime.errors import ConfigurationError, OperatorError

FILE_NAME = "pin.json"
LOCK_NAME = "pin.lock"
LOCK_POLL_SECONDS = 0.05


class PinRefused(OperatorError):
    """The token has refused this PIN before; nothing was tried now."""


class Verdict(StrEnum):
    TRYING = "trying"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    STOPPED = "stopped"


def read_pin(settings: HsmSettings) -> str:
    """Return the PIN. Raise ConfigurationError: unreadable, empty, or not UTF-8."""
    secret = read_secret(_path(settings), "the PIN of the HSM's token")
    try:
        pin = secret.decode()
    except UnicodeDecodeError:
        pin = ""
    if not pin:
        raise ConfigurationError(
            f"{_path(settings)} holds no PIN", "Write the token's user PIN into it, as text."
        )
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
    else:
        source = {"credential": settings.pin.name}
    return {"module": str(settings.module), "token": settings.token_label, **source}


def _path(settings: HsmSettings) -> Path:
    if isinstance(settings.pin, PinFile):
        return settings.pin.path
    return credential_path(settings.pin.name)


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
                    f"the last login to the token {self._settings.token_label!r} failed, and the "
                    "token may have counted it as a wrong PIN, so the PIN is not tried again",
                    f"See in the vendor's tool why the login failed. {self._way_out()}",
                )
            case Verdict.REFUSED:
                raise PinRefused(
                    f"the token {self._settings.token_label!r} has refused this PIN before, "
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
        with self._writable():
            replace_file(self._file, record)

    def forget(self) -> None:
        """Let the PIN be tried as if for the first time."""
        with self._writable():
            self._file.unlink(missing_ok=True)
            sync_folder(self._folder)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One worker of one process at a time tries a PIN that is not proven."""
        with self._writable(), (self._folder / LOCK_NAME).open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(LOCK_POLL_SECONDS)
            yield

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            yield
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to the state directory {self._folder}: {error.strerror}",
                "Make room there, and make it writable for this user: that a PIN is being tried is "
                "written down before it is.",
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
        if isinstance(self._settings.pin, PinFile):
            return (
                f"Write the right PIN into {self._settings.pin.path}: once the file has changed "
                "it is tried. If the PIN is right after all: master-key check "
                "--retry-pin"
            )
        return (
            "Give the right PIN to LoadCredential= and run, with it: master-key check --retry-pin"
        )
