"""Prometheus metrics of a signer, in addition to those of every node."""

import asyncio

from prometheus_client import Counter, Gauge

from custody.database.causes import is_transient
from custody.database.pool import Pool

INTERVAL = 10.0
"""Seconds between two counts in the database."""

CEREMONIES = Counter(
    "custody_ceremonies_total",
    "Ceremonies that ended at this signer, by kind and ending: done, or the error's code",
    ["kind", "end"],
)
UNUSABLE_SHARES = Gauge(
    "custody_unusable_shares", "Shares that could not be decrypted at their last use"
)
BANS = Gauge("custody_bans", "Bans that this signer knows: its own bans and its peers' bans")
IN_FLIGHT = Gauge(
    "custody_signing_in_flight",
    "Counterparties in the guarded phases of ECDSA signing, or left there by a stop",
)
RESTORED = Gauge(
    "custody_restored",
    "1 while this signer takes no work, because its database was restored and peers must answer",
)
NEEDED_REPAIRS = Gauge(
    "custody_needed_repairs",
    "Keys of which t peers use another share set than this signer has: they need a repair",
)
UNCERTAIN_SHARES = Gauge(
    "custody_uncertain_shares",
    "Restored shares that sign nothing, because too few signers have said that they use their sets",
)
SHARE_COPIES_WAITING = Gauge(
    "custody_share_copies_waiting", "Share copies that are not in the customer's bucket yet"
)
SHARE_COPIES_MISSING = Gauge(
    "custody_share_copies_missing", "Shares without a copy: mpc-signer layer4 backfill makes them"
)
OLDEST_SHARE_COPY = Gauge(
    "custody_oldest_waiting_share_copy_seconds",
    "Age of the oldest share copy that is not in the customer's bucket; 0 if none waits",
)
SHARE_COPY_PUTS = Counter(
    "custody_share_copy_puts_total",
    "Puts of share copies, by ending: stored, or the kind of the fault",
    ["end"],
)

_COUNT = """
    SELECT (SELECT count(*) FROM bans) AS bans, (SELECT count(*) FROM in_flight) AS in_flight
"""


async def count_repeatedly(pool: Pool) -> None:
    """Count bans and counterparties in flight every few seconds, until cancelled."""
    while True:
        try:
            [counted] = await pool.rows(_COUNT)
            BANS.set(counted.bans)
            IN_FLIGHT.set(counted.in_flight)
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(INTERVAL)
