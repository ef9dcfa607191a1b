"""Commits as the loop makes them."""

from uuid import UUID, uuid4

from hsm_driver.hsm.wrapped_key import WrappedKey
from hsm_driver.vault import row_of
from node.audit import AuditRecord
from node.handlers import NewRow
from node.journal import Commit
from tests.made_up_keys import made_up_key
from wire.algorithms import ECDSA_SECP256K1, Protection
from wire.outcomes import Outcome, OutcomeStatus

DIGEST = bytes(32)


def commit(
    status: OutcomeStatus = OutcomeStatus.DONE,
    *,
    job_id: UUID | None = None,
    digest: bytes = DIGEST,
    node: str = "driver-1",
    key_row: bool = False,
    kind: str = "Sign",
    details: dict[str, str | None] | None = None,
) -> Commit:
    job_id = job_id or uuid4()
    outcome = Outcome(job_id=job_id, node=node, status=status, reason=f"of {node}")

    def audit_record(outcome_digest: bytes) -> AuditRecord:
        return AuditRecord(
            job_id, kind, job_id, digest, status.value, None, outcome_digest, details or {}
        )

    rows = [key_row_of(job_id)] if key_row else []
    return Commit(job_id, digest, outcome, audit_record, rows)


def key_row_of(key_id: UUID) -> NewRow:
    key = WrappedKey(
        algorithm=ECDSA_SECP256K1,
        public_key=made_up_key(),
        protection=Protection.HSM,
        wrapped=b"wrapped",
        master_key="custody-1",
        mechanism="AES_KEY_WRAP_PAD",
    )
    return row_of(key_id, None, key)
