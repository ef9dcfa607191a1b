"""Streams that count and hash what passes through them."""

import hashlib
from collections.abc import Callable

from custody.backup.age import Reader, Writer


class _Counted:
    """Counts and hashes the bytes that pass through a stream."""

    def __init__(self, passed: Callable[[int], None] = lambda _: None) -> None:
        self._passed = passed
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def note(self, data: bytes) -> None:
        self._digest.update(data)
        self.size += len(data)
        self._passed(self.size)


class CountedReader(_Counted):
    """A source, counted."""

    def __init__(self, source: Reader, passed: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(passed)
        self._source = source

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.note(data)
        return data


class TooMuch(Exception):
    """More bytes came than were announced."""


class CountedWriter(_Counted):
    """A target, counted. ``limit``: the bytes that may come; one more raises TooMuch."""

    def __init__(
        self,
        target: Writer,
        passed: Callable[[int], None] = lambda _: None,
        limit: int | None = None,
    ) -> None:
        super().__init__(passed)
        self._target = target
        self._limit = limit

    def write(self, data: bytes) -> int:
        if self._limit is not None and self.size + len(data) > self._limit:
            raise TooMuch
        self._target.write(data)
        self.note(data)
        return len(data)


class WithheldWriter:
    """Passes each block on when the next one comes, and the last block when it is released.

    pg_restore commits as soon as it has the last bytes of a dump. Without them it commits nothing.
    pg_restore ignores bytes after a dump, so a shorter dump with padding is committed earlier.
    Withholding is enough only for a part whose blocks were checked: see ``OpenBackup.part``.
    """

    def __init__(self, target: Writer) -> None:
        self._target = target
        self._withheld = b""

    def write(self, data: bytes) -> int:
        if data:
            self.release()
            self._withheld = bytes(data)
        return len(data)

    def release(self) -> None:
        """Pass the last block on: all that was written is known to be right."""
        block, self._withheld = self._withheld, b""
        if block:
            self._target.write(block)
