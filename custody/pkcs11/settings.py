"""Settings of a token."""

from dataclasses import dataclass, field
from pathlib import Path

from custody.pkcs11.messages import (
    DEFAULT_CACHED_KEYS_SECONDS,
    DEFAULT_START_SECONDS,
    RestoredKey,
)
from custody.pkcs11.token_traits import DEFAULT_TRAITS, Login, TokenTraits, token_name
from custody.runtime.cores import usable_cores
from custody.wire.algorithms import Algorithm

DEFAULT_DEADLINE_SECONDS = 10.0
DEFAULT_KEEPALIVE_SECONDS = 30.0
"""Below a minute: firewalls drop connections that are idle for longer, some after a few minutes."""
MAX_DEFAULT_WORKERS = 8
"""Each worker is a session on the HSM, and HSMs limit sessions. A setting may ask for more."""
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
class NoPin:
    """No PIN from here. ``login``: as in TokenTraits, and other than ``user``."""

    login: Login


def default_workers() -> int:
    """Return the number of workers without a setting: the usable cores, up to a ceiling."""
    return min(usable_cores(), MAX_DEFAULT_WORKERS)


@dataclass(frozen=True)
class HsmSettings:
    """The way to a token, and the number of processes that use it.

    ``deadline_seconds`` is the longest that a worker may take over one group of operations before
    it is killed. ``start_seconds`` is the longest that a worker may take to load the library, log
    in and prove the master keys; it is never shorter than ``deadline_seconds``.
    ``keepalive_seconds``: a worker that was idle for so long asks the HSM for something.
    ``host_signing`` names the algorithms that may be signed on the host where the token cannot do
    them inside. ``state_directory`` keeps what must outlive this process: that a PIN was refused.
    ``restored``: keys that were not made inside this token, and that the configuration names as
    restored. ``weaker``: values of keys that the configuration accepts although this token could
    make stronger ones; with ``accept_weaker`` all of them.
    ``only_encrypting``: of the token's keys, use only those that encrypt.
    ``traits``: how to use this token where tokens differ.
    ``cached_keys``: how many unwrapped keys each worker keeps in its session, and each for
    ``cached_keys_seconds`` at most.
    """

    module: Path
    token_label: str
    pin: PinFile | PinCredential | NoPin
    state_directory: Path
    workers: int = field(default_factory=default_workers)
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    start_seconds: float = DEFAULT_START_SECONDS
    keepalive_seconds: float = DEFAULT_KEEPALIVE_SECONDS
    host_signing: frozenset[Algorithm] = frozenset()
    master_key_label: str = DEFAULT_MASTER_KEY_LABEL
    restored: tuple[RestoredKey, ...] = ()
    weaker: tuple[bytes, ...] = ()
    accept_weaker: bool = False
    only_encrypting: bool = False
    traits: TokenTraits = DEFAULT_TRAITS
    cached_keys: int = 0
    cached_keys_seconds: float = DEFAULT_CACHED_KEYS_SECONDS

    @property
    def token_name(self) -> str:
        """Return the name of the token in health, metrics and commands."""
        return token_name(self.token_label, self.traits.token_serial, self.traits.slot)
