"""Unwrapped session keys that a worker keeps for its next signatures. Workers only.

Off by default. A hot wallet then needs no C_UnwrapKey and C_DestroyObject for each signature.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from custody.pkcs11.faults import destroy
from custody.pkcs11.wrapped_key import WrappedKey


class KeyCache:
    """At most ``limit`` keys, each for at most ``seconds`` after it was unwrapped.

    The keys are objects of the worker's session: the token drops them when the session ends.
    """

    def __init__(
        self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[WrappedKey, tuple[Any, float]] = OrderedDict()

    def take(self, key: WrappedKey) -> tuple[Any, float] | None:
        """Remove an unwrapped key and return it with the time at which it expires.

        Return None if the cache does not have the key. The caller gives the key back with ``keep``
        after a signature, and destroys it after a failure.
        """
        self.expire()
        return self._kept.pop(key, None)

    def new_expiry(self) -> float:
        """Return when a key that is unwrapped now expires."""
        return self._clock() + self._seconds

    def keep(self, key: WrappedKey, private_key: Any, expires_at: float) -> None:
        """Keep an unwrapped key as the newest one. Destroy the key that was idle longest."""
        self._kept[key] = (private_key, expires_at)
        while len(self._kept) > self._limit:
            _, (oldest, _) = self._kept.popitem(last=False)
            destroy(oldest)

    def expire(self) -> None:
        """Destroy the keys whose time is over."""
        now = self._clock()
        over = [key for key, (_, expires_at) in self._kept.items() if expires_at <= now]
        for key in over:
            private_key, _ = self._kept.pop(key)
            destroy(private_key)

    def clear(self) -> None:
        """Destroy every key."""
        while self._kept:
            _, (private_key, _) = self._kept.popitem()
            destroy(private_key)

    def seconds_left(self) -> float | None:
        """Return the seconds until the next key expires; None if no key is kept."""
        if not self._kept:
            return None
        first = min(expires_at for _, expires_at in self._kept.values())
        return max(0.0, first - self._clock())
