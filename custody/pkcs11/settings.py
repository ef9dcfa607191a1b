"""Settings of a token."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from custody.pkcs11.messages import RestoredKey
from custody.wire.algorithms import Algorithm

DEFAULT_DEADLINE_SECONDS = 10.0
DEFAULT_MASTER_KEY_LABEL = "custody"


@dataclass(frozen=True)
class PinFile:
    """The token's user PIN in a file of mode 0600."""

    path: Path


@dataclass(frozen=True)
class PinCredential:
    """The token's user PIN as a systemd credential (LoadCredential=, systemd.exec(5))."""

    name: str


@dataclass(frozen=True)
class HsmSettings:
    """The way to a token, and the number of processes that use it.

    ``deadline_seconds`` is the longest that a worker may take over one group of operations before
    it is killed. ``host_signing`` names the algorithms that may be signed on the host where the
    token cannot do them inside. ``state_directory`` keeps what must outlive this process: that a
    PIN was refused. ``restored``: keys that were not made inside this token, and that the
    configuration names as restored. ``only_encrypting``: of the token's keys, use only those that
    encrypt.
    """

    module: Path
    token_label: str
    pin: PinFile | PinCredential
    state_directory: Path
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    host_signing: frozenset[Algorithm] = frozenset()
    master_key_label: str = DEFAULT_MASTER_KEY_LABEL
    restored: tuple[RestoredKey, ...] = ()
    only_encrypting: bool = False
