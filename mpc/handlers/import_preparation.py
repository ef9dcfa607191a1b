"""Jobs of kind PrepareImport: a one-time key, to which a sub-share for this signer is sealed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from custody.node.errors import Denied
from custody.node.handlers import Handled, RowChange, Work
from custody.node.wanted import wanted_copy, wanted_import
from custody.wire.hybrid_keys import HybridPrivateKey
from custody.wire.imports import IMPORT_KEY_LIFETIME, ImportKeyStatement
from custody.wire.jobs import Endpoint, Job, KeyHolders
from custody.wire.outcomes import PreparedImport
from custody.wire.signed_bytes import IMPORT_KEY_TYPE, SigningKey
from custody.wire.tickets import PROTOCOL
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.tickets import require_signers
from mpc.imports.import_keys import ImportKeys, facts, statement_payload


@dataclass(frozen=True)
class PrepareImport:
    """Makes an import key and states it; the same statement at each attempt."""

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = False
    admission: Admission
    import_keys: ImportKeys
    signer: SigningKey

    async def handle(self, work: Work) -> Handled:
        job = work.job
        holders = _holders(job)
        quorum = await self.admission.quorum()
        if quorum.me not in holders.signers:
            raise Denied("malformed_job", "this signer is not in the group of the job")
        if job.key.algorithm not in PROTOCOL:
            raise Denied("malformed_job", f"there are no MPC keys of {job.key.algorithm}")
        require_signers(quorum, holders.threshold, holders.signers)
        private_key = HybridPrivateKey.generate()
        statement = _statement(work, holders, quorum.me, private_key.public_key)
        rows: list[RowChange] = []
        stored = await self.import_keys.find(statement.import_id)
        if stored is None:
            rows.append(await self.import_keys.row(statement, private_key))
        elif facts(stored.statement) == facts(statement):
            statement = stored.statement
        else:
            raise Denied("import_exists", "this signer has an import key of another such import")
        payload = statement_payload(statement)
        return Handled(
            result=PreparedImport(statements=(self.signer.sign(IMPORT_KEY_TYPE, payload),)),
            audit={"group": statement.group, "import_key": statement.import_key[:16].hex()},
            rows=rows,
        )


def _holders(job: Job) -> KeyHolders:
    """Return the group that the application asked for. Raise Denied."""
    if job.endpoint is Endpoint.COPIES:
        if job.copied_from is None:  # so the import key is that of a copy, by its request's id
            raise Denied("malformed_job", "a copy's PrepareImport job names the key that is copied")
        return wanted_copy(job).holders
    wanted = wanted_import(job)
    if job.holders is None or job.holders.group != wanted.signer_group:
        raise Denied("request_mismatch", "the job is not for the group that was asked for")
    return job.holders


def _statement(work: Work, holders: KeyHolders, me: str, public_key: bytes) -> ImportKeyStatement:
    key = work.job.key
    return ImportKeyStatement.of_signer(
        me,
        holders,
        key.algorithm,
        import_id=key.id,
        application=work.signed_by,
        import_key=public_key,
        expires_at=datetime.now(UTC).replace(microsecond=0) + IMPORT_KEY_LIFETIME,
    )
