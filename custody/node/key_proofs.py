"""The audit records of proofs by which a node tells its keys on a token from others.

custody/pkcs11/key_proof.py makes the proofs. A proof decides which key is used, so each row of the
database has a record.
"""

from collections.abc import Mapping

from custody.node.adoptions import AdoptedRows, adoptions
from custody.node.audit import AuditRecord

KIND = "RecordKeyProof"
"""The kind of the audit record."""

PROOF_ROWS = AdoptedRows(
    "proof of the key",
    KIND,
    "SELECT key_name AS name, encode(value, 'hex') AS value FROM key_proofs",
)


def proof_records(
    proofs: Mapping[str, bytes], check_values: Mapping[str, bytes], operator: str
) -> list[AuditRecord]:
    """Return a record for each proof; its ``of`` is the check value of the key.

    ``proofs``: the value of each proof by the key's name, ``check_values`` likewise.
    """
    return [
        record
        for name, value in proofs.items()
        for record in adoptions(KIND, {name: value}, of=check_values[name].hex(), operator=operator)
    ]
