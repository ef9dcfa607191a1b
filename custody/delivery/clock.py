"""The error of this server's clock, estimated from the signers' clocks. Pure.

A delivery server asks nobody for the time, but signers send theirs. The median of the recent times
counts. So fewer than half of the signers, in error or lying, cannot change the estimate.
"""

from datetime import datetime, timedelta
from statistics import median

from custody.wire.clocks import said

READING_LASTS = timedelta(minutes=2)
MAX_READINGS = 1024
"""Readings that are kept: one of each signer."""


class ServerClock:
    """``allowed``: how far the clocks may be apart."""

    def __init__(self, allowed: timedelta) -> None:
        self._allowed = allowed
        self._readings: dict[str, tuple[datetime, timedelta]] = {}

    def hear(self, signer: str, told: str, now: datetime) -> None:
        """Take a signer's time, as its request has it; a value that is not a time is ignored."""
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
        """Ours less theirs, so positive where ours is ahead; None when nobody told of late."""
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
