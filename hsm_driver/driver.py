"""hsm-driver: a node whose keys are in an HSM."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import structlog

from custody.database.pool import Pool
from custody.node.archivals import Archivals
from custody.node.archiving import archiving_handlers
from custody.node.audited_changes import AuditedChanges
from custody.node.connections import open_client, open_database
from custody.node.health import Part
from custody.node.identity import load_identity
from custody.node.key_age import watch_age
from custody.node.key_backups import BackupWarnings
from custody.node.loop import OnStage
from custody.node.node import Mode, build_node
from custody.node.only_process import OnlyProcess
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.hsm_imports import HsmImports
from custody.runtime.operators import operator_name
from custody.runtime.tracing import start_tracing
from custody.s3.bucket import Bucket
from custody.wire.algorithms import Store
from custody.wire.jobs import JobKind
from custody.wire.signed_bytes import SigningKey
from hsm_driver.backup_warnings import backup_warnings
from hsm_driver.first_start import remember_master_keys, require_first_start
from hsm_driver.held_keys import DriverKeys
from hsm_driver.import_keys import ImportRows
from hsm_driver.import_sweep import ImportSweep
from hsm_driver.key_copies import KeyCopies
from hsm_driver.key_generation import GenerateKey
from hsm_driver.key_import import ImportKey, PrepareImport
from hsm_driver.key_rotation import master_key_age
from hsm_driver.known_keys import known_keys
from hsm_driver.new_keys import NewKeys
from hsm_driver.protection_warnings import no_new_keys, protection_warnings
from hsm_driver.settings import DriverSettings, hsm_settings, other_tokens
from hsm_driver.signing import Sign
from hsm_driver.vault import Vault

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_hsm(
    settings: DriverSettings,
    database: Pool | None = None,
    *,
    workers: int | None = None,
    accept_new: bool = False,
    learn_only_first: bool = False,
    accept_weaker: bool = False,
) -> AsyncIterator[Hsm]:
    """Return the HSM after login. Raise OperatorError.

    Of the token's keys, only those that ``database`` knows are used; all, if it knows none. With
    ``accept_new``: also those that it may learn. With ``learn_only_first``: a database that knows
    none must be new. ``accept_weaker``: as in HsmSettings. With ``workers``: only the first
    token is used.
    """
    known = [] if database is None else await known_keys(database)
    if database is not None and not known and learn_only_first:
        await require_first_start(database, settings.node.state_directory)
    others = other_tokens(settings) if workers is None else []
    first = replace(hsm_settings(settings, workers), accept_weaker=accept_weaker)
    hsm = Hsm(first, others=[replace(each, accept_weaker=accept_weaker) for each in others])
    try:
        await hsm.start(known, accept_new=accept_new or not known)
        for stranger in await hsm.strangers():
            log.warning("foreign key on the token, not used", key=stranger.name, why=stranger.why)
        yield hsm
    finally:
        await hsm.close()


def key_copies(settings: DriverSettings, hsm: Hsm, signer: SigningKey) -> KeyCopies | None:
    """Return the place of wrapped-key copies; None if the configuration has none."""
    section = settings.key_copies
    return None if section is None else KeyCopies(hsm, Bucket(section), signer, section.drivers)


async def run_driver(settings: DriverSettings, on_stage: OnStage = lambda _: None) -> None:
    """Run until SIGTERM or SIGINT, then finish the jobs that have begun. Raise OperatorError."""
    structlog.contextvars.bind_contextvars(node=settings.node.id, group=settings.node.group)
    start_tracing("hsm-driver")
    signer = load_identity(settings.identity.private_key)
    async with (
        open_database(settings, patient=True) as database,
        OnlyProcess(database, settings.node.id) as only,
        open_client(settings) as client,
        open_hsm(settings, database, learn_only_first=True) as hsm,
    ):
        vault = Vault(database, hsm)
        await vault.adopt_first_master_keys(
            AuditedChanges(database, settings.node.id), operator_name()
        )
        remember_master_keys(settings.node.state_directory)
        capabilities = await hsm.capabilities()
        log.info(
            "hsm ready", capabilities={str(key): how.value for key, how in capabilities.items()}
        )
        copies = key_copies(settings, hsm, signer)
        import_rows = ImportRows(database)
        imports = HsmImports(hsm, await import_rows.owner())
        sweep = ImportSweep(imports, import_rows)
        parts = [
            Part("process", only.problem),
            Part("hsm", lambda: hsm.problem),
            Part("hsm workers", lambda: hsm.shortage, stops_work=False),
            Part("new keys", lambda: no_new_keys(capabilities), stops_work=False),
            Part("import keys", sweep.problem, stops_work=False),
        ]
        if copies is not None:
            parts.append(Part("key copies", copies.problem, stops_work=False))
        backups = BackupWarnings(partial(backup_warnings, database))
        await backups.refresh()
        aged = watch_age(await master_key_age(database, settings.hsm))
        moved = await protection_warnings(database, capabilities)
        for warning in moved:
            log.warning("protection of new keys changed", warning=warning)
        new_keys = NewKeys(vault, settings.node.id, settings.node.group, signer, copies)
        others = settings.key_copies.drivers if settings.key_copies else ()
        mode = Mode(
            store=Store.HSM,
            handlers={
                JobKind.GENERATE_KEY.value: GenerateKey(vault, new_keys),
                JobKind.PREPARE_IMPORT.value: PrepareImport(imports, import_rows, new_keys),
                JobKind.IMPORT_KEY.value: ImportKey(imports, import_rows, new_keys, sweep, others),
                JobKind.SIGN.value: Sign(vault),
                **archiving_handlers(Archivals(database), vault.require_key),
            },
            parts=parts,
            capabilities=capabilities,
            warnings=lambda: [*moved, *backups.warnings(), *aged()],
            tls=[] if copies is None else copies.tls,
            held_keys=DriverKeys(database, settings.node.id, settings.node.group, signer, others),
        )
        node = build_node(settings, database, client, signer, mode, on_stage)
        await node.run(settings.health, backups.refresh_repeatedly, sweep.run)
