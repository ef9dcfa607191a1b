"""Jobs of kinds PrepareImport and ImportKey: keys that an application has, taken into the HSM."""

from collections.abc import Sequence

from custody.node.errors import Denied, Refused
from custody.node.handlers import Handled, Work
from custody.node.metrics import HSM_SECONDS
from custody.node.wanted import WantedKey, wanted_import, wanted_key
from custody.pkcs11.errors import BadImport, HsmCrashed, ImportKeyMissing
from custody.pkcs11.hsm_imports import HsmImports
from custody.pkcs11.messages import ImportKey as TakeIn
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.tracing import span
from custody.wire.algorithms import Store
from custody.wire.imports import ImportedKey, ImportKeyStatement
from custody.wire.outcomes import PreparedImport
from custody.wire.signed_bytes import IMPORT_KEY_TYPE
from hsm_driver.import_keys import ImportRows, StoredImportKey, is_over
from hsm_driver.import_sweep import ImportSweep
from hsm_driver.new_keys import NewKeys
from hsm_driver.stated_imports import StatedImports
from hsm_driver.vault import refused_without_master_key


class PrepareImport:
    """Makes an RSA key on the token for one import, and states its public half."""

    carries_request = True
    asks_gate = False

    def __init__(self, imports: HsmImports, rows: ImportRows, new_keys: NewKeys) -> None:
        self._imports = imports
        self._rows = rows
        self._new_keys = new_keys

    async def handle(self, work: Work) -> Handled:
        job = work.job
        wanted = wanted_import(job)
        if wanted.store is not Store.HSM or job.id != job.key.id:
            raise Denied("request_mismatch", "the job is not for an import of store hsm")
        algorithm, asked_by = wanted.algorithm, work.signed_by
        expires_at = await self._rows.reserve(job.id, asked_by, algorithm)
        with HSM_SECONDS.labels("make import key").time(), span("hsm make import key"):
            token, made = await self._imports.make(job.id, algorithm)
        statement = ImportKeyStatement(
            import_id=job.id,
            application=asked_by,
            scheme=algorithm.scheme,
            curve=algorithm.curve,
            protection=made.protection,
            wrapping=made.wrapping,
            import_key=made.import_key,
            expires_at=expires_at,
            group=self._new_keys.group,
            threshold=1,
            signers=[self._new_keys.node],
            node=self._new_keys.node,
        )
        signed = self._new_keys.signer.sign(IMPORT_KEY_TYPE, statement.model_dump_json().encode())
        return Handled(
            result=PreparedImport(statements=(signed,)),
            audit={
                "scheme": algorithm.scheme.value,
                "curve": algorithm.curve.value,
                "protection": made.protection.value,
                "token": token,
            },
            rows=[
                self._rows.made(
                    job.id, token, made.import_key, made.wrapping, made.protection, expires_at
                )
            ],
        )


class ImportKey:
    """Takes in a private key that is encrypted to an import key, once.

    ``drivers``: identity public keys of the group's drivers whose import keys count too.
    """

    carries_request = True
    asks_gate = True

    def __init__(
        self,
        imports: HsmImports,
        rows: ImportRows,
        new_keys: NewKeys,
        sweep: ImportSweep,
        drivers: Sequence[bytes] = (),
    ) -> None:
        self._imports = imports
        self._rows = rows
        self._new_keys = new_keys
        self._sweep = sweep
        self._stated = StatedImports(new_keys.signer.public_key, drivers)

    async def handle(self, work: Work) -> Handled:
        wanted = wanted_key(work.job)
        imported = wanted.imported
        assert imported is not None  # wanted_key
        await self._new_keys.require_new(work)
        stored = await self._usable(work, wanted, imported)
        await self._rows.use(stored.import_id, work.job.key.id, work.job.request_digest)
        work.require_wanted()
        try:
            key = await self._take_in(stored, imported)
        except (BadImport, HsmCrashed):
            await self._rows.finish(stored.import_id)
            self._sweep.wake()
            raise
        handled = await self._new_keys.keep(work, wanted, key)
        handled.audit["import_id"] = str(stored.import_id)
        handled.rows.append(self._rows.finished(stored.import_id, self._sweep.wake))
        return handled

    async def _usable(
        self, work: Work, wanted: WantedKey, imported: ImportedKey
    ) -> StoredImportKey:
        """Return the import key of the request. Raise Denied or Refused."""
        stored = await self._rows.find(imported.import_id)
        if stored is None or is_over(stored):
            raise Denied(
                "import_expired", f"this node has no import key {imported.import_id} any more"
            )
        if stored.is_finished:
            raise Denied(
                "import_used",
                f"import {imported.import_id} was used before, or an operator has destroyed its "
                "import key",
            )
        self._stated.require(stored)
        if stored.application != work.signed_by:
            raise Denied(
                "import_mismatch", "the import was asked for by another application, or by none"
            )
        if stored.algorithm != wanted.algorithm:
            raise Denied("import_mismatch", f"the import is for a key of {stored.algorithm}")
        return stored

    async def _take_in(self, stored: StoredImportKey, imported: ImportedKey) -> WrappedKey:
        if imported.wrapped is None:
            raise Denied("malformed_request", "the request has no wrapped key")
        operation = TakeIn(
            owner=self._imports.owner,
            import_id=stored.import_id,
            import_key=stored.import_key,
            wrapping=stored.wrapping,
            algorithm=stored.algorithm,
            protection=stored.protection,
            public_key=imported.public_key,
            wrapped=imported.wrapped,
        )
        try:
            with (
                HSM_SECONDS.labels("import").time(),
                span("hsm import"),
                refused_without_master_key(),
            ):
                return await self._imports.take_in(stored.token, operation)
        except ImportKeyMissing as missing:
            # the token of another driver may have it
            raise Refused(missing.code, missing.reason) from None
