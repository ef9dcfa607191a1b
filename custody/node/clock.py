"""Comparison of this node's clock with the control plane's clock."""

import asyncio
from datetime import datetime, timedelta

from custody.wire.clocks import nearest_offset, said

READING_LASTS = timedelta(minutes=2)
"""Validity of a reading of the control plane's clock. Each heartbeat (10 s) takes a reading."""


class Clock:
    """The offset between the control plane's clock and this host's clock.

    The offset is unknown before the first reading, and again when the last reading is too old.
    ``offset``: the control plane's time minus this host's, positive if this host is behind.
    """

    def __init__(self, max_offset: timedelta) -> None:
        self._max_offset = max_offset
        self._told_offset = max_offset
        self._compared_at: datetime | None = None
        self.offset = timedelta()
        self.compared = asyncio.Event()

    def compare(self, theirs: datetime, sent: datetime, received: datetime) -> None:
        """Take a reading.

        ``theirs``: the control plane's time. It was read between ``sent`` and ``received``, which
        are times of this host.
        """
        self.offset = nearest_offset(theirs - received, theirs - sent)
        self._compared_at = received
        self.compared.set()

    def deadline(self, expires_at: datetime) -> datetime:
        """Return the time on this host's clock at which ``expires_at`` has passed on either clock.

        At most the allowed offset counts: otherwise a wrong clock would deny jobs permanently.
        """
        return expires_at - self._ahead()

    def is_over(self, expires_at: datetime, now: datetime) -> bool:
        """Return True from ``deadline`` on, also for times at which ``deadline`` would overflow."""
        return expires_at - now <= self._ahead()

    def _ahead(self) -> timedelta:
        """Return how far the control plane's clock is ahead, at most the allowed offset."""
        return min(max(self.offset, timedelta()), self.allowed)

    def allow(self, told_seconds: float | None) -> None:
        """Take the offset that the control plane's tickets allow, up to the configured one."""
        if told_seconds is not None:
            ours = self._max_offset.total_seconds()
            # NaN compares as false, and so allows no offset
            self._told_offset = timedelta(
                seconds=min(told_seconds, ours) if told_seconds > 0 else 0
            )

    @property
    def allowed(self) -> timedelta:
        """Return the largest offset with which this node works."""
        return min(self._max_offset, self._told_offset)

    def problem(self, now: datetime) -> str | None:
        """Return why this host's clock is not reliable; None while the clocks agree."""
        if self._compared_at is None or abs(now - self._compared_at) > READING_LASTS:
            return "not compared with the control plane's clock recently"
        if abs(self.offset) > self.allowed:
            return (
                f"{said(-self.offset)} the control plane's: {self.allowed.total_seconds():g} s "
                "are allowed"
            )
        return None
