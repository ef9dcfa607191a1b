"""Clock checks of the delivery servers, every 10 s: a wrong clock would reject valid tickets.

A server gains nothing from lying about its clock: it could as well deliver nothing. The control
plane leaves a server out only if t signers report its clock, so one lying signer is not enough.
"""

import asyncio
from datetime import UTC, datetime

import structlog

from custody.node.clock import Clock
from custody.wire.clocks import nearest_offset, said
from custody.wire.signed_bytes import KEY_ID
from mpc.ceremonies.delivery_client import DeliveryClient, DeliveryRefused, DeliveryUnavailable

log = structlog.get_logger()

INTERVAL = 10.0
"""Seconds between questions."""


class DeliveryClocks:
    """``names`` of the servers. ``clock``: this host's offset from the control plane's clock."""

    def __init__(self, client: DeliveryClient, names: list[str], clock: Clock) -> None:
        self._client = client
        self._names = names
        self._clock = clock
        self._problems: dict[str, str] = {}
        self._job_signing_keys: dict[str, tuple[str, ...]] = {}

    def problems(self) -> dict[str, str]:
        """Return the servers whose clock is too far off, each with its offset in words."""
        return dict(self._problems)

    def problem(self) -> str | None:
        """Return ``problems`` as one text; None if there are none."""
        return "; ".join(f"{name}: {text}" for name, text in self._problems.items()) or None

    def job_signing_keys(self) -> dict[str, tuple[str, ...]]:
        """Return the ids of the job-signing keys that each server said that it pins."""
        return dict(self._job_signing_keys)

    async def compare_repeatedly(self) -> None:
        await self._clock.compared.wait()
        while True:
            await asyncio.gather(*(self.compare(name) for name in self._names))
            await asyncio.sleep(INTERVAL)

    async def compare(self, name: str) -> None:
        """Compare one server's clock. An unavailable server changes nothing."""
        sent = datetime.now(UTC)
        try:
            facts = await self._client.facts(name)
        except (DeliveryUnavailable, DeliveryRefused):
            return
        except Exception:
            # one server's answer must not prevent the comparison of the others
            log.exception("cannot compare a delivery server's clock", server=name)
            return
        self._job_signing_keys[name] = tuple(
            key_id for key_id in facts.job_signing_keys if KEY_ID.fullmatch(key_id)
        )
        problem = clock_problem(facts.time, sent, datetime.now(UTC), self._clock)
        if problem is None:
            self._problems.pop(name, None)
        elif self._problems.get(name) != problem:
            log.warning("a delivery server's clock disagrees", server=name, problem=problem)
            self._problems[name] = problem


def clock_problem(
    time: datetime | None, sent: datetime, received: datetime, clock: Clock
) -> str | None:
    """Return the offset of a server's clock in words, or None if it is within the limit."""
    if time is None:
        return None
    # minus the control plane's offset from us: the server's offset from the control plane
    offset = nearest_offset(time - received - clock.offset, time - sent - clock.offset)
    if abs(offset) <= clock.allowed:
        return None
    return (
        f"its clock is {said(offset)} the control plane's: "
        f"{clock.allowed.total_seconds():g} s are allowed"
    )
