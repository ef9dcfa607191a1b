"""The results of a `doctor` command, and the checks that all processes share."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from custody.runtime.console import out
from custody.runtime.errors import OperatorError
from custody.runtime.tls import load_certificates

EXPIRES_SOON = timedelta(days=14)


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}


@dataclass(frozen=True)
class Check:
    """One check: its subject, its result and, unless the result is ok, what to do.

    ``ids``: ids of all objects that the check is about, possibly many. Only --json shows them.
    """

    name: str
    status: Status
    detail: str
    todo: str | None = None
    ids: tuple[str, ...] = ()


def failed(name: str, error: OperatorError) -> Check:
    """Return the failed check that an error describes."""
    return Check(name, Status.FAIL, error.what, error.todo)


def expiry_check(certificate: Path, of: str, todo: str) -> Check:
    """Check how long a certificate is still valid. Raise ConfigurationError.

    ``of`` names the certificate in the result.
    """
    ends = load_certificates(certificate)[0].not_valid_after_utc
    left = ends - datetime.now(UTC)
    if left >= EXPIRES_SOON:
        return Check("certificate", Status.OK, f"{of}, {left.days} days left")
    status = Status.WARN if left > timedelta() else Status.FAIL
    return Check("certificate", status, f"{certificate} expires at {ends.isoformat()}", todo)


async def side_by_side(*groups: AsyncIterator[Check]) -> AsyncIterator[Check]:
    """Make the checks of all groups at the same time. Yield them group by group, in order."""
    making = [asyncio.create_task(_all_of(group)) for group in groups]
    try:
        for made in making:
            for check in await made:
                yield check
    finally:
        for made in making:
            made.cancel()
        await asyncio.gather(*making, return_exceptions=True)


async def _all_of(group: AsyncIterator[Check]) -> list[Check]:
    return [check async for check in group]


def print_check(check: Check) -> None:
    """Return one line for people, and below it what to do."""
    colour = COLOURS[check.status]
    out.print(f"[{colour}]{check.status.value:<5}[/] {check.name:<26} ", end="")
    out.print(check.detail, markup=False)
    if check.todo:
        out.print(f"      -> {check.todo}", markup=False)
