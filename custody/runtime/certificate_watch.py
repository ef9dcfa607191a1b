"""Takes up changed TLS files without a restart, and says when a certificate ends soon.

The files are compared every POLL_SECONDS, and at once after SIGHUP. Polling also sees a symbolic
link that was moved, a file that a rename replaced, and a file on a network file system.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from custody.runtime.certificate_days import Validity, fewest_days, validities
from custody.runtime.certificate_metrics import CertificateMetrics
from custody.runtime.certificate_settings import CertificatesSection
from custody.runtime.errors import ConfigurationError
from custody.runtime.live_tls import LiveTls
from custody.runtime.revocation import own_revocation

POLL_SECONDS = 2.0
REPORT_INTERVAL = timedelta(days=1)

log = structlog.get_logger(__name__)


def ignore_hangups() -> None:
    """Ignore SIGHUP, which would end the process: for a daemon that is starting, and workers.

    Processes that this process starts ignore it too.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class CertificateWatch:
    """Watches the TLS files of a daemon. ``on_hangup``: reads again what is not TLS."""

    def __init__(
        self,
        watched: Sequence[LiveTls],
        limits: CertificatesSection,
        metrics: CertificateMetrics,
        on_hangup: Callable[[], None] = lambda: None,
    ) -> None:
        self._watched = watched
        self._limits = limits
        self._metrics = metrics
        self._on_hangup = on_hangup
        self._woken = asyncio.Event()
        self._reported: datetime | None = None
        self._show(datetime.now(UTC))

    async def run(self) -> None:
        """Watch until cancelled. SIGHUP reads all files again, also unchanged ones."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._woken.set)
        while True:
            is_asked = self._woken.is_set()
            self._woken.clear()
            await self.refresh(always=is_asked)
            if is_asked:
                self._on_hangup()
                log.info("TLS files read again, after SIGHUP", uses=self._uses())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)

    async def refresh(self, *, always: bool = False) -> None:
        """Take up what has changed. ``always``: read unchanged files too."""
        for live in self._watched:
            try:
                read = await asyncio.to_thread(live.read, always=always)
            except ConfigurationError as error:
                live.refuse(error, time.monotonic())
            else:
                if read is not None:
                    live.take(read)
                live.same()
        now = datetime.now(UTC)
        for live in self._watched:
            live.notice_time(now)
        self._show(now)
        self._report(now)

    def problem(self) -> str | None:
        """Return which files cannot be used, and which certificates and CRLs end soon."""
        now = datetime.now(UTC)
        found = [f"{live.files.use}: {live.refusal}" for live in self._watched if live.refusal]
        for live in self._watched:
            loaded = live.loaded
            revoked = own_revocation(loaded.chain, loaded.roots, loaded.crls, now)
            found += [f"{live.files.use}: {revoked}"] if revoked is not None else []
            due = [each for each in _validities(live) if each.is_due(now, self._limits)]
            found += [f"{live.files.use}: {each.problem(now)}" for each in due]
        return "; ".join(found) or None

    def _show(self, now: datetime) -> None:
        for live in self._watched:
            days = fewest_days(_validities(live), now)
            self._metrics.show(live.files.use, days, live.refusal is not None)

    def _report(self, now: datetime) -> None:
        """Log the days left once a day."""
        if self._reported is not None and now - self._reported < REPORT_INTERVAL:
            return
        self._reported = now
        for live in self._watched:
            found = _validities(live)
            days = {role.value: round(left, 1) for role, left in fewest_days(found, now).items()}
            is_due = any(each.is_due(now, self._limits) for each in found)
            say = log.warning if is_due else log.info
            say("days left of certificates", use=live.files.use, **days)

    def _uses(self) -> list[str]:
        return [live.files.use for live in self._watched]


def _validities(live: LiveTls) -> list[Validity]:
    loaded = live.loaded
    return validities(loaded.chain, loaded.roots, loaded.crls)
