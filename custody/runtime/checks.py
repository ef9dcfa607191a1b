"""The results of a `doctor` command, and the checks that all processes share."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from math import floor

from custody.runtime.certificate_days import fewest_days, validities
from custody.runtime.certificate_settings import CertificatesSection
from custody.runtime.console import out
from custody.runtime.errors import OperatorError
from custody.runtime.revocation import own_revocation
from custody.runtime.tls import TlsFiles, load_tls

HOW_TO_RENEW = "docs/how-to/certificates.md"
RETURN_OF_A_REVOKED = (
    "Ask the operator of the authority why. If this host shall have a new certificate: `pki renew` "
    f"here, then `pki sign` at the authority: {HOW_TO_RENEW}"
)


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


def certificate_checks(
    used: Iterable[TlsFiles], limits: CertificatesSection, todo: str
) -> Iterator[Check]:
    """Check the TLS files of each use, and how long certificates and CRLs are still valid.

    ``todo``: what renews a certificate.
    """
    now = datetime.now(UTC)
    for files in used:
        name = f"certificate {files.use}"
        try:
            loaded = load_tls(files)
        except OperatorError as error:
            yield failed(name, error)
            continue
        revoked = own_revocation(loaded.chain, loaded.roots, loaded.crls, now)
        if revoked is not None:
            yield Check(name, Status.FAIL, f"{revoked}: peers refuse it", RETURN_OF_A_REVOKED)
            continue
        found = validities(loaded.chain, loaded.roots, loaded.crls)
        problems = [each.problem(now) for each in found if each.is_due(now, limits)]
        if problems:
            status = Status.FAIL if any(each.ends <= now for each in found) else Status.WARN
            yield Check(name, status, "; ".join(problems), todo)
            continue
        days = fewest_days(found, now)
        left = ", ".join(f"{role} {floor(days[role])}" for role in days)  # as pki show
        crl = "" if files.crl or files.ca is None else "; no crl is set"
        yield Check(name, Status.OK, f"days left: {left}{crl}")


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
