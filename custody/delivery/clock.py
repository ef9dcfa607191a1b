"""The error of this server's clock, estimated from the signers' clocks. Pure.

A delivery server asks nobody for the time, but signers send theirs. The median of the recent times
counts. So fewer than half of the signers, in error or lying, cannot change the estimate.
"""

from datetime import datetime, timedelta
from statistics import median

from custody.wire.clocks import said

READING_LASTS = timedelta(minutes=2)
MAX_READINGS = 1024
"""Most readings that are kept: one reading of each signer."""


class ServerClock:
    """The signers' latest readings. ``allowed``: the largest accepted offset of the clocks."""

    def __init__(self, allowed: timedelta) -> None:
        self._allowed = allowed
        self._readings: dict[str, tuple[datetime, timedelta]] = {}

    def hear(self, signer: str, told: str, now: datetime) -> None:
        """Record the time in a signer's request. Ignore a value that is not a time."""
        try:
            time = datetime.fromisoformat(told)
            offset = now - time
        except (ValueError, TypeError, OverflowError):
            return
        self._readings.pop(signer, None)
        self._readings[signer] = (now, offset)
        while len(self._readings) > MAX_READINGS:
            del self._readings[next(iter(self._readings))]

    def offset(self, now: datetime) -> timedelta | None:
        """Return this clock less the signers', positive if this clock is ahead.

        None without a recent reading.
        """
        recent = [
            offset.total_seconds()
            for at, offset in self._readings.values()
            if abs(now - at) <= READING_LASTS
        ]
        return timedelta(seconds=median(recent)) if recent else None

    def problem(self, now: datetime) -> str | None:
        """Return the offset of this clock that most signers report; None if the clocks agree."""
        offset = self.offset(now)
        if offset is None or abs(offset) <= self._allowed:
            return None
        return f"{said(offset)} the signers': {self._allowed.total_seconds():g} s are allowed"
