"""`doctor` tries everything that a signer needs, and says how to correct what fails."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from custody.database.pool import Pool
from custody.node.clock import Clock
from custody.node.connections import open_database
from custody.node.doctor import control_plane_checks, durability_check, host_checks
from custody.node.lock_checks import lock_checks
from custody.pkcs11.doctor import encryption_key_checks
from custody.runtime.checks import Check, Status, failed, side_by_side
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import Store
from custody.wire.clocks import TICKET_LIFE, allowed_offset
from mpc._native import PROTOCOLS, Dkg, LocalMisuse
from mpc.backup_warnings import backup_check
from mpc.bans.in_flight import left
from mpc.ceremonies.delivery_client import DeliveryClient, DeliveryRefused, DeliveryUnavailable
from mpc.delivery_clocks import clock_problem
from mpc.key_rotation import rotation_check
from mpc.restored.marks import Marks
from mpc.restored.needed_repairs import count_uncertain, needed_repairs
from mpc.restored.watch import HOW_TO_PIN, peers_answers, pin_or_do_without, restore_state
from mpc.settings import SignerSettings
from mpc.shares.encryption_keys import hsm_settings, open_encryption_keys
from mpc.signer import open_delivery_client

if TYPE_CHECKING:
    from mpc.layer4.settings import Layer4Section

_UNPINNED = """
    SELECT DISTINCT unnest(signers) AS signer FROM shares WHERE ciphertext IS NOT NULL
    EXCEPT SELECT signer FROM peers EXCEPT SELECT :me ORDER BY signer
"""

_COUNTS = """
    SELECT (SELECT count(*) FROM peers) AS peers, (SELECT count(*) FROM bans) AS bans,
        (SELECT count(*) FROM shares WHERE state = 'active') AS shares
"""


ALLOWED = allowed_offset(TICKET_LIFE)


async def checks(settings: SignerSettings) -> AsyncIterator[Check]:
    """Yield the checks in order; what waits for others is done at the same time.

    No check changes anything.
    """
    for check in host_checks(settings):
        yield check
    yield _protocols()
    async for check in side_by_side(
        _on_this_host(settings),
        _delivery(settings),
        lock_checks(settings, Store.MPC),
        control_plane_checks(settings, ALLOWED),
    ):
        yield check


async def _on_this_host(settings: SignerSettings) -> AsyncIterator[Check]:
    yield await _database(settings)
    for name, make in (
        ("database durability", _durability),
        ("encryption key", _encryption_key),
        ("encryption key backup", _encryption_key_backup),
        ("encryption key age", _encryption_key_age),
        ("peers", _peers),
        ("bans", _bans),
        ("restore", _restore),
        ("repairs", _repairs),
    ):
        yield await _on_database(name, settings, make)
    if settings.layer4 is None:
        yield Check("layer 4", Status.OK, "off: the customer has no share copies")
    else:
        yield await _on_database("layer 4", settings, _share_copies)
        for check in await asyncio.to_thread(_bucket, settings.layer4):
            yield check
    if settings.encryption.hsm is not None:
        async for check in encryption_key_checks(hsm_settings(settings)):
            yield check


def _protocols() -> Check:
    """Check that each library starts key generations, each with other randomness."""
    name = "threshold protocols"
    session_id = secrets.token_bytes(32)
    try:
        for protocol in PROTOCOLS:
            first, second = (Dkg(protocol, 1, 2, 2, session_id).start() for _ in range(2))
            if (first.broadcast, first.private) == (second.broadcast, second.private):
                return Check(
                    name,
                    Status.FAIL,
                    f"{protocol} repeats its randomness",
                    "Do not run this signer: its keys could be guessed. Install it again.",
                )
    except LocalMisuse as error:
        return Check(name, Status.FAIL, str(error), "Install this version again.")
    return Check(name, Status.OK, ", ".join(PROTOCOLS))


async def _database(settings: SignerSettings) -> Check:
    try:
        async with open_database(settings) as database:
            count = (await database.rows(_COUNTS))[0].shares
    except OperatorError as error:
        return failed("database", error)
    return Check("database", Status.OK, f"reached, schema is this version's, {count} keys")


async def _durability(_: SignerSettings, database: Pool) -> Check:
    return await durability_check(database)


async def _on_database(
    name: str,
    settings: SignerSettings,
    make: Callable[[SignerSettings, Pool], Awaitable[Check]],
) -> Check:
    try:
        async with open_database(settings) as database:
            return await make(settings, database)
    except OperatorError as error:
        return failed(name, error)


async def _encryption_key(settings: SignerSettings, database: Pool) -> Check:
    name = "encryption key"
    async with open_encryption_keys(settings, database) as keys:
        known = await keys.require_known(database)
        if len(known) > 1:
            return Check(
                name,
                Status.WARN,
                f"shares are under several: {', '.join(sorted(known))}",
                "Finish the interrupted rewrap: run the same mpc-signer rewrap command again.",
            )
        await keys.compare(database)
        current = keys.current
    if not known:
        return Check(name, Status.OK, f"{current.id} ({current.name}), adopted by the first run")
    return Check(name, Status.OK, f"{current.id} ({current.name}), check value agrees")


async def _encryption_key_backup(settings: SignerSettings, database: Pool) -> Check:
    async with open_encryption_keys(settings, database) as keys:
        await keys.require_known(database)
        return await backup_check(database, keys)


async def _encryption_key_age(settings: SignerSettings, database: Pool) -> Check:
    return await rotation_check(database, settings.encryption)


async def _peers(settings: SignerSettings, database: Pool) -> Check:
    count = (await database.rows(_COUNTS))[0].peers
    todo = "On each of the others: mpc-signer identity show. Here: mpc-signer peers add"
    if not count:
        return Check(
            "peers", Status.FAIL, "none pinned: this signer cannot take part in a ceremony", todo
        )
    rows = await database.rows(_UNPINNED, {"me": settings.node.id})
    if rows:
        missing = ", ".join(row.signer for row in rows)
        return Check(
            "peers", Status.WARN, f"{missing}: has shares of the same keys, but is not pinned", todo
        )
    return Check("peers", Status.OK, f"{count} pinned")


async def _bans(_: SignerSettings, database: Pool) -> Check:
    count = (await database.rows(_COUNTS))[0].bans
    found = await left(database)
    if found:
        first = found[0]
        return Check(
            "bans",
            Status.WARN,
            f"{count} bans, and {len(found)} pairs that a stop left in flight: they do not sign "
            "together",
            "Find out why this signer stopped, then for each of mpc-signer bans list: mpc-signer "
            f"bans resolve {first.key_id} {first.signer} --clear --reason TEXT (or --ban)",
        )
    return Check("bans", Status.OK, f"{count}, nothing left in flight")


async def _share_copies(settings: SignerSettings, database: Pool) -> Check:
    from mpc.layer4 import copy_queries
    from mpc.layer4.putting import place_of

    assert settings.layer4 is not None
    here = place_of(settings.layer4)
    [counts] = await database.rows(copy_queries.COUNTS, here)
    said = f"{counts.stored} of {counts.shares} shares have their copy in {here['place']}"
    if counts.missing:
        todo = "mpc-signer layer4 backfill"
        return Check("layer 4", Status.WARN, f"{said}; {counts.missing} have no copy", todo)
    if counts.waiting:
        why = counts.fault or "no put has ended yet"
        todo = "mpc-signer layer4 status"
        return Check("layer 4", Status.WARN, f"{said}; {counts.waiting} wait: {why}", todo)
    return Check("layer 4", Status.OK, f"{said}, for {here['customer_key']}")


def _bucket(section: Layer4Section) -> list[Check]:
    """Return what can be checked of the bucket without putting an object."""
    from custody.s3.bucket import Bucket
    from custody.s3.checks import object_lock_check, versioning_check

    try:
        bucket = Bucket(section)
    except OperatorError as error:
        return [failed("bucket", error)]
    checks = [versioning_check(bucket), object_lock_check(bucket)]
    return [replace(check, name=f"bucket: {check.name}") for check in checks]


async def _restore(settings: SignerSettings, database: Pool) -> Check:
    """Check that the database is the one that this signer worked with last."""
    name = "restore"
    found, marks = await restore_state(database), Marks(settings.node.state_directory).read()
    asked = await peers_answers(database, settings.node.id)
    missing = [each.signer for each in asked if each.answered_at is None]
    unpinned = [each.signer for each in asked if each.answered_at is None and not each.is_pinned]
    if found is None:
        return Check(name, Status.OK, "this signer has not worked with this database yet")
    if found.nonce is not None:
        todo = "Start this signer and those peers. For one that is gone for good: mpc-signer bans "
        todo += "do-without"
        if unpinned:
            todo = f"{pin_or_do_without(unpinned)}. {todo}"
        elif not any(each.is_pinned for each in asked):
            todo = f"Pin a peer: {HOW_TO_PIN}. {todo}"
        return Check(
            name,
            Status.WARN,
            f"the database was restored ({found.why}): signs nothing before these peers tell their "
            f"bans: {', '.join(missing) or ('none is missing' if asked else 'none is pinned')}",
            todo,
        )
    if marks is None or found.mark not in marks:
        return Check(
            name,
            Status.WARN,
            "the state directory has another mark than the database, as after a restore",
            "Start this signer: it then asks its peers for the bans that the database may lack.",
        )
    when = found.noticed_at
    restored = "" if when is None else f", restored at {when.isoformat(timespec='seconds')}"
    return Check(name, Status.OK, f"the database's mark is that of the state directory{restored}")


async def _repairs(_: SignerSettings, database: Pool) -> Check:
    needed, uncertain = await needed_repairs(database), await count_uncertain(database)
    if uncertain:
        return Check(
            "repairs",
            Status.WARN,
            f"{uncertain} restored shares are uncertain and sign nothing; keys that need a repair: "
            f"{len(needed)}",
            "See docs/how-to/restore-a-database.md#uncertain-shares and mpc-signer shares list.",
        )
    if needed:
        return Check(
            "repairs",
            Status.WARN,
            f"{len(needed)} keys, the first {needed[0].key_id}: the peers use later share sets "
            "than this restored signer has",
            "Repair each: docs/how-to/replace-a-signer.md. See mpc-signer shares list.",
        )
    return Check("repairs", Status.OK, "no key needs one after a restore")


async def _delivery(settings: SignerSettings) -> AsyncIterator[Check]:
    try:
        async with open_delivery_client(settings) as client:
            for server in settings.delivery:
                yield await _server(client, server.name, server.url)
    except OperatorError as error:
        yield failed("delivery servers", error)


async def _server(client: DeliveryClient, name: str, url: str) -> Check:
    check = f"delivery {name}"
    todo = "Start it, or correct its name, url or ca in [[delivery]]."
    try:
        sent = datetime.now(UTC)
        facts = await client.facts(name)
        received = datetime.now(UTC)
    except (DeliveryUnavailable, DeliveryRefused) as error:
        return Check(check, Status.FAIL, str(error), todo)
    if facts.name != name:
        return Check(check, Status.FAIL, f"{url} calls itself {facts.name!r}", todo)
    problem = clock_problem(facts.time, sent, received, Clock(ALLOWED))
    if problem is not None:
        todo = (
            "Set that host's clock by NTP. If only this signer reports this, set this host's clock."
        )
        return Check(check, Status.FAIL, problem, todo)
    return Check(check, Status.OK, f"{url}, version {facts.version}, clocks agree")
