"""The allowed offsets of clocks, and their text. Pure.

The clock of the control plane's database counts: it sets the times of tickets, leases and expiry.
"""

from datetime import timedelta

TICKET_LIFE = timedelta(seconds=15)
"""Life of a ticket to sign; the control plane's operator can configure another."""
PARTS = 3
FARTHEST = timedelta(days=365)
"""Largest offset that is told apart: a larger offset counts as this one."""


def allowed_offset(ticket_life: timedelta) -> timedelta:
    """Return the allowed offset of a clock: a third of a ticket's life.

    It is the limit for signers' and delivery servers' clocks against the control plane's clock.

    A clock that is ahead by a third leaves two thirds: one to take the task, one to hold the
    ceremony. A signer whose clock is behind by a third waits longer for a silent signer than the
    other signers do, by at most a third.
    """
    return ticket_life / PARTS


def nearest_offset(earliest: timedelta, latest: timedelta) -> timedelta:
    """Return the offset nearest to zero between two offsets, at most FARTHEST.

    ``earliest``: their time minus ours when their answer was received. ``latest``: their time minus
    ours when the question was sent. The code never shifts another host's datetime: near the year 1
    or 9999 that overflows. Differences of datetimes never overflow.
    """
    nearest = max(earliest, min(latest, timedelta()))
    return max(-FARTHEST, min(nearest, FARTHEST))


def said(offset: timedelta) -> str:
    """Return an offset in words, as "20 s ahead of" or "12 min behind"; negative: behind."""
    seconds = abs(offset.total_seconds())
    size = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    if seconds >= 7200:
        size = f"{seconds / 3600:.0f} h"
    return f"{size} {'behind' if offset < timedelta() else 'ahead of'}"
