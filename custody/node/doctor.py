"""The checks of `doctor` that every node has. They try everything and change nothing."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

from custody.backup.history import BackupHistory
from custody.database.durability import DURABILITY_TODO, read_durability
from custody.database.pool import Pool
from custody.database.url import TLS_TODO, tls_problem
from custody.node.audit import AuditChain
from custody.node.audit_records import Kept, KeptHead, read_kept
from custody.node.audit_restore import lost_heads
from custody.node.clock import Clock
from custody.node.connections import open_client, open_database
from custody.node.control_plane_client import ControlPlaneRefused, ControlPlaneUnavailable
from custody.node.freeze import Freeze
from custody.node.identity import load_identity
from custody.node.settings import NodeSettings
from custody.runtime.checks import HOW_TO_RENEW, Check, Status, certificate_checks, failed
from custody.runtime.errors import OperatorError
from custody.runtime.job_signing_keys import pinned_job_keys

BACKUP_IS_OLD = timedelta(days=2)
VERIFIED_IS_OLD = timedelta(days=35)


def host_checks(settings: NodeSettings) -> Iterator[Check]:
    """Check this host: files, certificate, freeze, backups."""
    yield _identity(settings)
    yield from _certificates(settings)
    for part in (_job_keys, _database_tls, _freeze, _backup):
        yield part(settings)


def _identity(settings: NodeSettings) -> Check:
    try:
        signer = load_identity(settings.identity.private_key)
    except OperatorError as error:
        return failed("identity key", error)
    return Check("identity key", Status.OK, f"Ed25519 {signer.key_id}")


def _freeze(settings: NodeSettings) -> Check:
    problem = Freeze(settings.node.state_directory).problem()
    if problem is None:
        return Check("freeze", Status.OK, "not frozen")
    todo = f"When the reason is gone, run: {settings.program} unfreeze"
    return Check("freeze", Status.WARN, problem, todo)


def _backup(settings: NodeSettings) -> Check:
    name, program = "backup", settings.program
    if settings.backup is None or not settings.backup.recipients:
        what = "[backup] names no recipients, so no backup can be made"
        return Check(name, Status.WARN, what, "See docs/how-to/back-up.md.")
    history, now = BackupHistory(settings.node.state_directory), datetime.now(UTC)
    made = history.created()
    if made is None or now - made.created_at > BACKUP_IS_OLD:
        when = "never" if made is None else f"at {made.created_at.isoformat()}"
        return Check(
            name, Status.WARN, f"the last backup was made {when}", f"Run: {program} backup create"
        )
    newest = max((each.created_at for each in history.verified()), default=None)
    if newest is None or now - newest > VERIFIED_IS_OLD:
        when = "never" if newest is None else f"that of {newest.isoformat()}"
        todo = f"Run: {program} backup verify --identity KEY"
        return Check(name, Status.WARN, f"the last verified backup: {when}", todo)
    return Check(name, Status.OK, f"made {made.created_at.isoformat()}, verified one of {newest}")


def _job_keys(settings: NodeSettings) -> Check:
    keys = settings.control_plane.job_signing_keys
    try:
        pinned = pinned_job_keys(keys, "control_plane")
    except OperatorError as error:
        return failed("job-signing keys", error)
    return Check("job-signing keys", Status.OK, f"{len(keys)} pinned: {', '.join(pinned.ids)}")


def _database_tls(settings: NodeSettings) -> Check:
    name = "database connection"
    try:
        problem = tls_problem(settings.database.read_url())
    except OperatorError as error:
        return failed(name, error)
    if problem is not None:
        return Check(name, Status.WARN, problem, TLS_TODO)
    return Check(name, Status.OK, "stays on this host, or uses sslmode=verify-full")


async def durability_check(database: Pool) -> Check:
    """Check that the database server keeps what it has committed. Raise DATABASE_ERRORS."""
    name = "database durability"
    found = await read_durability(database)
    if found.problem is not None:
        return Check(name, Status.WARN, found.problem, DURABILITY_TODO)
    wait = "wait" if found.waits else "do not wait"
    return Check(name, Status.OK, f"commits are on disk, and {wait} for a synchronous standby")


def _certificates(settings: NodeSettings) -> Iterator[Check]:
    todo = f"Renew it, and copy the new files over the old ones: {HOW_TO_RENEW}"
    return certificate_checks(settings.tls, settings.certificates, todo)


async def control_plane_checks(
    settings: NodeSettings, max_offset: timedelta | None = None
) -> AsyncIterator[Check]:
    """Check that the control plane knows this node, and compare the audit chain's kept heads.

    ``max_offset``: the clock offset that tickets allow, if that is less than the settings' limit.
    """
    name = "control plane"
    try:
        async with open_client(settings) as client:
            sent = datetime.now(UTC)
            answer = await client.audit_heads()
            yield _group(settings, answer.group)
            clock = Clock(timedelta(seconds=settings.loop.max_clock_offset_seconds))
            clock.allow(None if max_offset is None else max_offset.total_seconds())
            if client.server_date is not None:  # an HTTP date has whole seconds
                clock.compare(client.server_date, sent - timedelta(seconds=1), datetime.now(UTC))
            yield _clock(clock)
        name = "audit chain"
        signer = load_identity(settings.identity.private_key)
        kept = read_kept(answer, signer, settings.node.id)
        async with open_database(settings) as database:
            head = await AuditChain(database, settings.node.id, signer).head()
            lost = await lost_heads(database, settings.node.id, signer, kept)
        yield _audit(settings.program, kept, lost, head.sequence)
    except OperatorError as error:
        yield failed(name, error)
    except ControlPlaneUnavailable as error:
        yield Check(
            name,
            Status.FAIL,
            str(error),
            "Start the control plane, or correct url, ca or certificate in [control_plane].",
        )
    except ControlPlaneRefused as error:
        yield Check(
            name,
            Status.FAIL,
            str(error),
            f"On the control plane's host run: control-plane node add {settings.node.id} "
            f"--group {settings.node.group}",
        )


def _group(settings: NodeSettings, registered: str) -> Check:
    ours, url = settings.node.group, settings.control_plane.url
    if registered == ours:
        return Check("control plane", Status.OK, f"{url} knows this node, in group {ours}")
    return Check(
        "control plane",
        Status.FAIL,
        f"{url} knows this node in group {registered!r}, but the configuration says {ours!r}",
        "Correct [node] group, or remove the node on the control plane and add it again, with its "
        "certificate: docs/how-to/take-access-away.md",
    )


def _clock(clock: Clock) -> Check:
    problem = clock.problem(datetime.now(UTC))
    if problem is None:
        return Check("clock", Status.OK, f"{abs(clock.offset).total_seconds():.0f} s apart at most")
    return Check("clock", Status.FAIL, problem, "Set the clock by NTP on both hosts.")


def _audit(program: str, kept: Kept, lost: list[KeptHead], local: int) -> Check:
    name = "audit chain"
    if kept.findings:
        todo = "Find out who replaced this node's identity key, or the kept heads."
        return Check(name, Status.FAIL, kept.findings[0].what, todo)
    waiting = [gap for gap in kept.restores.values() if gap.acknowledged_at is None]
    if waiting:
        return Check(
            name,
            Status.FAIL,
            f"this node has stated a restore that lost the records up to "
            f"{waiting[-1].kept.sequence}, but no admin has acknowledged it",
            "An admin runs on the control plane's host: control-plane node restored, with this "
            "node's id and a reason.",
        )
    if lost:
        return Check(
            name,
            Status.FAIL,
            f"the control plane keeps {len(lost)} heads that the database lacks, the last of "
            f"record {lost[-1].head.sequence}; the database ends at {local}",
            f"Run {program} audit verify. If the database was restored: {program} audit restored.",
        )
    return Check(
        name,
        Status.OK,
        f"agrees with {len(kept.heads)} kept heads; its {local} records: {program} audit verify",
    )
