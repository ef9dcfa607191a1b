"""What a daemon passes to the backup commands: its database, its files, its checks."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from custody.backup.settings import BackupSection
from custody.wire.audit import AuditHead
from custody.wire.signed_bytes import SigningKey


class Advance(Protocol):
    """Shows progress: the step, what is done of it, and its total (None: not known).

    ``is_bytes``: ``done`` and ``total`` are bytes; otherwise they count the things of ``step``.
    """

    def __call__(
        self, step: str, done: int, total: int | None, /, *, is_bytes: bool = False
    ) -> None: ...


Rows = Callable[..., list[Any]]
"""Runs a query with ``%(name)s`` parameters in the snapshot, and returns all rows."""


@dataclass(frozen=True)
class DatabaseFacts:
    """The facts that only the program can read from its own tables."""

    audit_head: AuditHead | None = None
    check_values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatabaseCheck:
    """The result of the program's own checks of a restored database.

    ``tried``: how many of the ``in_all`` keys (or, of a control plane, audit heads) were tried.
    ``said``: one line for people for each check that was done. ``findings``: what is not good.
    """

    tried: int
    in_all: int
    said: list[str]
    findings: list[str]


class CheckDatabase(Protocol):
    """Checks a restored database; ``sample``: how many keys to try, None for all.

    Raise OperatorError if the check cannot be done.
    """

    def __call__(
        self, url: str, sample: int | None, advance: Advance
    ) -> Coroutine[Any, Any, DatabaseCheck]: ...


@dataclass(frozen=True)
class Newer:
    """One fact that a restored database lacks, in one line, and what to do about it."""

    what: str
    todo: str


NextSteps = Callable[[datetime], list[str]]
"""Returns what the operator does after a restore, one sentence each, given the backup's time."""

FindNewer = Callable[[datetime], Coroutine[Any, Any, list[Newer]]]
"""Asks the control plane what it has since a time that the database lacks. Raises OperatorError."""


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """One daemon on one host, whose backups are made.

    ``files`` are backed up. ``secrets`` are not: the PIN and the signer's encryption keys.
    ``folder``: the configuration's folder, from which the names in the backup count.
    """

    program: str
    node: str
    group: str | None
    tree: str
    database_url: str
    section: BackupSection
    state_directory: Path
    signer: SigningKey
    earlier_keys: tuple[bytes, ...] = ()
    """Public keys that ``signer`` has replaced: they have signed older backups."""
    folder: Path
    files: tuple[Path, ...]
    secrets: tuple[Path, ...]
    facts: Callable[[Rows], DatabaseFacts]
    check: CheckDatabase
    next_steps: NextSteps
    newer: FindNewer | None = None
    """None for the control plane, which no other host can tell what its database lacks."""

    @property
    def believed(self) -> tuple[bytes, ...]:
        """Return the public keys whose signatures are this daemon's."""
        return (self.signer.public_key, *self.earlier_keys)
