"""The journal's record of an import key, as a PrepareImport job of a driver leaves it."""

from typing import Any
from uuid import UUID

from custody.database.pool import Pool
from custody.wire.imports import ImportKeyStatement
from custody.wire.outcomes import Outcome, OutcomeStatus, PreparedImport
from custody.wire.signed_bytes import IMPORT_KEY_TYPE, SigningKey
from hsm_driver.import_keys import ImportRows
from tests.unit.wire.protocol_examples import NODE_SIGNER

NODE = "zurich-1"


async def record_statement(
    pool: Pool, import_id: UUID, signer: SigningKey = NODE_SIGNER, **changes: Any
) -> None:
    """Record the statement of a stored import key, with some facts changed."""
    stored = await ImportRows(pool).find(import_id)
    assert stored is not None
    facts: dict[str, Any] = {
        "import_id": import_id,
        "application": stored.application,
        "scheme": stored.algorithm.scheme,
        "curve": stored.algorithm.curve,
        "protection": stored.protection,
        "wrapping": stored.wrapping,
        "import_key": stored.import_key,
        "expires_at": stored.expires_at,
    }
    statement = ImportKeyStatement(
        **{**facts, **changes}, group="hsm", threshold=1, signers=[NODE], node=NODE
    )
    signed = signer.sign(IMPORT_KEY_TYPE, statement.model_dump_json().encode())
    outcome = Outcome(
        job_id=import_id,
        node=NODE,
        status=OutcomeStatus.DONE,
        result=PreparedImport(statements=(signed,)),
    )
    await pool.rows("DELETE FROM journal WHERE job_id = :id", {"id": import_id})
    await pool.rows(
        "INSERT INTO journal (job_id, digest, node, status, outcome)"
        " VALUES (:id, '', :node, 'DONE', :outcome)",
        {"id": import_id, "node": NODE, "outcome": outcome.model_dump_json().encode()},
    )
