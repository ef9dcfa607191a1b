"""Commits as the loop makes them."""

from uuid import UUID, uuid4

from custody.node.audit import AuditRecord
from custody.node.handlers import RowChange
from custody.node.journal import Commit
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import ECDSA_SECP256K1, Protection
from custody.wire.outcomes import Outcome, OutcomeStatus
from hsm_driver.vault import row_of
from tests.made_up_keys import made_up_key

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


def key_row_of(key_id: UUID) -> RowChange:
    key = WrappedKey(
        algorithm=ECDSA_SECP256K1,
        public_key=made_up_key(),
        protection=Protection.HSM,
        wrapped=b"wrapped",
        master_key="custody-1",
        mechanism="AES_KEY_WRAP_PAD",
    )
    return row_of(key_id, None, key)
