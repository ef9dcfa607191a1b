"""A bounded cache in memory, of values that are cheap to lose."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Keeps at most ``max_entries`` values, each for ``seconds`` after ``put``.

    A full cache drops the entry that was put or read the longest ago.
    """

    def __init__(
        self,
        max_entries: int,
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Return the value of a key; None when it is unknown, or was put too long ago."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, value = entry
        if self._clock() >= until:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Keep a value, in place of the key's earlier one."""
        self._entries[key] = self._clock() + self._seconds, value
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def pop(self, key: Key) -> Value | None:
        """Remove a key. Return its value as ``get`` does."""
        value = self.get(key)
        self._entries.pop(key, None)
        return value

    def __contains__(self, key: Key) -> bool:
        """Return whether ``get`` has a value for a key."""
        return self.get(key) is not None

    def __iter__(self) -> Iterator[Key]:
        """Return a copy of the keys: the caller may remove keys while it iterates."""
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)
