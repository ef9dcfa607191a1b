"""The checks of `control-plane doctor`. They try everything and change nothing."""

import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from custody.control_plane.database import MIGRATE_COMMAND, NAME, TREE, AnyRow
from custody.control_plane.job_signing_key.files import KeyFiles
from custody.control_plane.settings import Settings
from custody.database.durability import DURABILITY_TODO, read_durability
from custody.database.errors import database_errors
from custody.database.pool import Pool
from custody.database.url import TLS_TODO, tls_problem
from custody.migrations.schema import check_database
from custody.runtime.checks import HOW_TO_RENEW, Check, Status, certificate_checks, failed
from custody.runtime.errors import OperatorError

CLOCK_OFFSET = timedelta(seconds=1)
"""Replicas take turns in one database: each is compared with the database's clock."""
SILENCE_SECONDS = 60
CONNECT_SECONDS = 2.0

_NOW = "SELECT clock_timestamp() AS now"
_NODES = """
    SELECT id, coalesce(last_seen > now() - make_interval(secs => :silence), false) AS is_seen,
        job_signing_keys, delivery_problems
    FROM nodes ORDER BY id
"""


async def checks(settings: Settings) -> AsyncIterator[Check]:
    """Yield each check as soon as it is made."""
    yield _signing_key(settings)
    todo = f"Renew it, and copy the new files over the old ones: {HOW_TO_RENEW}"
    used = [settings.public_api.tls, settings.node_api.tls]
    for check in certificate_checks(used, settings.certificates, todo):
        yield check
    for name, section in (("public API", settings.public_api), ("node API", settings.node_api)):
        yield _listener(name, section.host, section.port)
    async for check in _database(settings):
        yield check


def _signing_key(settings: Settings) -> Check:
    name = "job-signing key"
    files = KeyFiles(settings.jobs.signing_key)
    try:
        key = settings.jobs.signer()  # refuses a file that other users may read
        following = files.load_next()
    except OperatorError as error:
        return failed(name, error)
    prepared = "" if following is None else f"; next: {following.key_id}"
    return Check(name, Status.OK, f"Ed25519 {key.key_id}{prepared}")


def _listener(name: str, host: str, port: int) -> Check:
    """Look whether something listens, without a request."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        socket.create_connection((address, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        todo = "Start the control plane: control-plane serve"
        return Check(name, Status.WARN, f"nothing answers at {address}:{port}: {error}", todo)
    return Check(name, Status.OK, f"something listens at {address}:{port}")


async def _database(settings: Settings) -> AsyncIterator[Check]:
    name = "database"
    try:
        url = settings.database.read_url()
        yield _database_tls(url)
        async with Pool(url, 1, f"{NAME} doctor") as pool:
            with database_errors():
                await check_database(pool, TREE, MIGRATE_COMMAND)
                yield Check(name, Status.OK, "reached, schema is this version's")
                found = await read_durability(pool)
                if found.problem is None:
                    yield Check("database durability", Status.OK, "commits are on disk")
                else:
                    yield Check("database durability", Status.WARN, found.problem, DURABILITY_TODO)
                name = "clock"
                yield await _clock(pool)
                name = "nodes"
                for check in await _nodes(settings, pool):
                    yield check
    except OperatorError as error:
        yield failed(name, error)


def _database_tls(url: str) -> Check:
    name, problem = "database connection", tls_problem(url)
    if problem is not None:
        return Check(name, Status.WARN, problem, TLS_TODO)
    return Check(name, Status.OK, "stays on this host, or uses sslmode=verify-full")


async def _clock(pool: Pool) -> Check:
    before = datetime.now(UTC)
    [row] = await pool.rows(_NOW)
    after = datetime.now(UTC)
    if before - CLOCK_OFFSET <= row.now <= after + CLOCK_OFFSET:
        return Check("clock", Status.OK, "agrees with the database's clock")
    offset = (row.now - before).total_seconds()
    return Check(
        "clock",
        Status.FAIL,
        f"the database's clock is {offset:+.0f} s from this host's",
        "Set the clocks of all replicas and of the database's host by NTP.",
    )


async def _nodes(settings: Settings, pool: Pool) -> list[Check]:
    rows = await pool.rows(_NODES, {"silence": SILENCE_SECONDS})
    if not rows:
        todo = "Register one: control-plane node add ID --group GROUP"
        return [Check("nodes", Status.WARN, "no node is registered", todo)]
    made = [_seen([row.id for row in rows if not row.is_seen], len(rows))]
    try:
        ours = settings.jobs.signer().key_id
    except OperatorError:
        ours = None  # the check of the key says it
    lacking = [row.id for row in rows if ours not in (row.job_signing_keys or [ours])]
    if ours is not None and lacking:
        made.append(
            Check(
                "pinned job-signing key",
                Status.FAIL,
                f"these nodes do not pin {ours}, and refuse its jobs: {', '.join(lacking)}",
                "Add the key to their job_signing_keys: docs/how-to/rotate-the-job-signing-key.md",
                ids=tuple(lacking),
            )
        )
    if settings.delivery.servers:
        made += _delivery(settings.delivery.servers, rows)
    return made


def _seen(silent: list[str], number: int) -> Check:
    if not silent:
        return Check("nodes", Status.OK, f"{number} registered, all seen in the last minute")
    what = f"not seen in the last {SILENCE_SECONDS} s: {', '.join(silent)}"
    todo = "Start them, and run doctor on their hosts. Remove those that are gone for good."
    return Check("nodes", Status.WARN, what, todo, ids=tuple(silent))


def _delivery(names: list[str], rows: Sequence[AnyRow]) -> Iterator[Check]:
    """Return what the signers say: the control plane itself speaks to no delivery server."""
    for name in names:
        problems = [
            f"{row.id}: {row.delivery_problems[name]}"
            for row in rows
            if row.is_seen and name in row.delivery_problems
        ]
        if problems:
            todo = f"Run mpc-delivery doctor on the host of {name}, and mpc-signer doctor."
            yield Check(f"delivery {name}", Status.WARN, "; ".join(problems), todo)
        else:
            yield Check(f"delivery {name}", Status.OK, "no signer has reported a problem")
