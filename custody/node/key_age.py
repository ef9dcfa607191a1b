"""The age of the keys that protect all other keys: master keys, and encryption keys of signers.

The age counts from the moment when the node's database first knew the key. A copy or a restore of
the key or of the database does not change this moment, unlike the time of a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from custody.node.metrics import ROTATION_DAYS_LEFT
from custody.runtime.checks import Check, Status

DAY = timedelta(days=1)
MAX_ROTATION_DAYS = 36500
"""Largest setting, so that no date overflows."""


@dataclass(frozen=True)
class KeyAge:
    """A key that protects other keys, and when an operator wants to rotate it.

    ``kind`` and ``name``: for people. ``rotate_after_days``: 0 for never.
    """

    kind: str
    name: str
    used_since: datetime
    rotate_after_days: int

    def days(self, now: datetime) -> int:
        """Return the age in full days; 0 for a time in the future, as after a change of clocks."""
        return max(0, (now - self.used_since) // DAY)

    def days_left(self, now: datetime) -> float | None:
        """Return the days until the rotation, negative after it is due; None for never."""
        if self.rotate_after_days == 0:
            return None
        return self.rotate_after_days - (now - self.used_since) / DAY

    def is_due(self, now: datetime) -> bool:
        """Return whether the key is older than the configuration allows."""
        left = self.days_left(now)
        return left is not None and left < 0

    def warnings(self, now: datetime) -> list[str]:
        """Return the warning of a running node: a text that stays the same until the rotation."""
        if not self.is_due(now):
            return []
        return [
            f"{self.kind} {self.name} was first used on {self.used_since:%Y-%m-%d}, more than "
            f"{self.rotate_after_days} days ago (rotate_after_days): doctor names the commands "
            "that rotate it"
        ]

    def check(self, now: datetime, rotation: str) -> Check:
        """Return doctor's check. ``rotation``: the commands that rotate the key."""
        name = f"{self.kind} age"
        age = f"{self.name} was first used on {self.used_since:%Y-%m-%d}, {self.days(now)} days ago"
        age = f"{age} (rotate_after_days = {self.rotate_after_days})"
        if self.is_due(now):
            return Check(name, Status.WARN, age, rotation)
        return Check(name, Status.OK, age)

    def show(self) -> None:
        """Export the days until the rotation as a metric; nothing for a key without rotation."""
        if self.rotate_after_days:
            ROTATION_DAYS_LEFT.labels(self.name).set_function(self._days_left_now)

    def _days_left_now(self) -> float:
        left = self.days_left(datetime.now(UTC))
        assert left is not None
        return left


def watch_age(age: KeyAge | None) -> Callable[[], list[str]]:
    """Export the age of a running node's key, and return the function of its warnings.

    ``age``: None if the node's database knows no key.
    """
    if age is None:
        return list
    age.show()
    return lambda: age.warnings(datetime.now(UTC))
