"""How far apart clocks may be, and how that is said. Pure.

The control plane's database has the clock that counts: tickets, leases and expiry are by it.
"""

from datetime import timedelta

TICKET_LIFE = timedelta(seconds=15)
"""Of a ticket to sign, unless the control plane's operator has settled another one."""
PARTS = 3
FARTHEST = timedelta(days=365)
"""Offsets beyond this count as this: a time of the year 1 or 9999 is far off, however far."""


def allowed_offset(ticket_life: timedelta) -> timedelta:
    """How far a signer's or a delivery server's clock may be from the control plane's.

    A third of a ticket's life. A clock that is ahead by so much leaves two thirds: one to take the
    task up, one to hold the ceremony. One that is behind by so much has its signer wait for a
    silent one longer than the others do, and no longer than a third.
    """
    return ticket_life / PARTS


def nearest_offset(earliest: timedelta, latest: timedelta) -> timedelta:
    """The offset nearest to zero between two, and no farther from zero than FARTHEST.

    ``earliest``: their time less ours when their answer was received. ``latest``: their time less
    ours when the question was sent. Nobody shifts a datetime of another host, since one near the
    year 1 or 9999 overflows: differences of datetimes never do.
    """
    nearest = max(earliest, min(latest, timedelta()))
    return max(-FARTHEST, min(nearest, FARTHEST))


def said(offset: timedelta) -> str:
    """An offset in words, as "20 s ahead of" or "12 min behind"; negative: behind."""
    seconds = abs(offset.total_seconds())
    size = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    if seconds >= 7200:
        size = f"{seconds / 3600:.0f} h"
    return f"{size} {'behind' if offset < timedelta() else 'ahead of'}"
