"""`doctor` tries everything that a driver needs, and says how to correct what fails."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from custody.database.pool import Pool
from custody.node.connections import open_database
from custody.node.doctor import control_plane_checks, durability_check, host_checks
from custody.node.lock_checks import lock_checks
from custody.pkcs11.doctor import WeakVersions, hsm_checks
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.hsm_imports import HsmImports
from custody.pkcs11.messages import WHY_RETIRED, KnownKey
from custody.pkcs11.other_token_check import other_token_checks
from custody.runtime.checks import Check, Status, failed, side_by_side
from custody.runtime.errors import OperatorError
from custody.s3.bucket import Bucket
from custody.s3.faults import S3Fault
from custody.wire.algorithms import Store
from hsm_driver.backup_warnings import backup_check
from hsm_driver.driver import open_hsm
from hsm_driver.import_keys import ImportRows
from hsm_driver.import_sweep import over_at
from hsm_driver.key_rotation import older_keys_check, rotation_check
from hsm_driver.known_keys import known_keys
from hsm_driver.settings import DriverSettings, hsm_settings, other_tokens
from hsm_driver.vault import Vault

_UNDER = """
    SELECT master_key, array_agg(key_id ORDER BY key_id) AS key_ids FROM wrapped_keys
    WHERE master_key = ANY(:master_keys::varchar[]) GROUP BY master_key ORDER BY master_key
"""


async def checks(settings: DriverSettings) -> AsyncIterator[Check]:
    """Yield the checks in order; what waits for others is done at the same time.

    No check leaves a change.
    """
    for check in host_checks(settings):
        yield check
    async for check in side_by_side(
        _hsm_and_database(settings),
        lock_checks(settings, Store.HSM),
        _key_copies(settings),
        control_plane_checks(settings),
    ):
        yield check


async def _hsm_and_database(settings: DriverSettings) -> AsyncIterator[Check]:
    weak: WeakVersions = {}
    known = await _known_keys(settings)
    async for check in hsm_checks(hsm_settings(settings), weak, known):
        yield check
    async for check in other_token_checks(hsm_settings(settings), other_tokens(settings), known):
        yield check
    async for check in _database(settings, weak):
        yield check


async def _known_keys(settings: DriverSettings) -> list[KnownKey]:
    """Return the keys of the database; none if it cannot be asked, which another check says."""
    try:
        async with open_database(settings) as database:
            return await known_keys(database)
    except OperatorError:
        return []


async def _database(settings: DriverSettings, weak: WeakVersions) -> AsyncIterator[Check]:
    name = "database"
    try:
        async with open_database(settings) as database:
            yield Check(name, Status.OK, "reached, schema is this version's")
            yield await durability_check(database)
            name = "master key backup"
            yield await backup_check(database)
            name = "master key age"
            yield await rotation_check(database, settings.hsm)
            name = "keys under older master keys"
            if (older := await older_keys_check(database)) is not None:
                yield older
            name = "keys and master keys"
            for check in await _weak_keys(database, weak):
                yield check
            name = "master key and database"
            async with open_hsm(settings, database, workers=1) as hsm:
                await Vault(database, hsm).compare_master_keys()
                strangers = await hsm.strangers()
                import_keys = await _import_keys(hsm, database)
            yield Check(name, Status.OK, "check values agree")
            if retired := sorted(each.name for each in strangers if each.why == WHY_RETIRED):
                yield _retired(retired)
            for check in import_keys:
                yield check
    except OperatorError as error:
        yield failed(name, error)


async def _import_keys(hsm: Hsm, database: Pool) -> list[Check]:
    """Return rows about the imports that have a key on a token: those that are over, and others'.

    Raise Failed.
    """
    rows = ImportRows(database)
    imports = HsmImports(hsm, await rows.owner())
    over, others = set[UUID](), set[UUID]()
    for token in imports.token_names:
        over |= await over_at(imports, rows, token)
        others.update(await imports.present_of_others(token))
    checks = []
    if over:
        checks.append(_import_keys_over(sorted(map(str, over))))
    if others:
        # the other group's doctor knows whether they are over
        said = (
            f"{len(others)} on the token. If no other group uses the token, or its database is "
            "gone: hsm-driver import-keys list --others, and delete --others"
        )
        checks.append(Check("import keys of other driver groups", Status.OK, said))
    return checks


def _import_keys_over(over: list[str]) -> Check:
    return Check(
        "import keys",
        Status.WARN,
        f"import keys on the token that are over: {', '.join(over)}",
        "A driver that runs destroys them within a minute. If they stay: hsm-driver import-keys "
        "delete, and the vendor's tool for what that leaves.",
    )


def _retired(names: list[str]) -> Check:
    return Check(
        "retired master keys",
        Status.WARN,
        f"the token still has {', '.join(names)}, which no driver uses",
        "Once each driver was restarted, delete them with the vendor's tool. The HSM's backup has "
        "to keep them as long as backups from before: docs/how-to/rewrap-the-master-key.md.",
    )


async def _key_copies(settings: DriverSettings) -> AsyncIterator[Check]:
    """Check that the bucket can be read. A put would leave an object that cannot be deleted."""
    if settings.key_copies is None:
        return
    name, place = "wrapped-key copies", settings.key_copies.place
    try:
        bucket = Bucket(settings.key_copies)
        await asyncio.to_thread(
            bucket.call, "list_objects_v2", Prefix=settings.key_copies.prefix, MaxKeys=1
        )
    except S3Fault as fault:
        yield Check(name, Status.FAIL, fault.what, fault.todo)
    except OperatorError as error:
        yield failed(name, error)
    else:
        yield Check(name, Status.OK, f"{place} can be listed")


async def _weak_keys(database: Pool, weak: WeakVersions) -> list[Check]:
    """Return, for each master key, the stored keys that a holder of the PIN can extract."""
    checks = []
    for row in await database.rows(_UNDER, {"master_keys": sorted(weak)}):
        checks.append(
            Check(
                f"keys under {row.master_key}",
                Status.WARN,
                f"{len(row.key_ids)} stored keys are open to: {', '.join(weak[row.master_key])}",
                "Make and adopt a stronger master key, then: hsm-driver master-key rewrap "
                "--dry-run. It says which keys can be put under it. Move the funds of the others "
                "to new wallets. "
                f"List these keys: hsm-driver keys list --master-key {row.master_key}",
                ids=tuple(map(str, row.key_ids)),
            )
        )
    return checks
