"""The proofs of a token's keys in a node's database: both modes have the table ``key_proofs``."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from custody.database.pool import Pool
from custody.pkcs11.messages import KeyProof
from custody.wire.algorithms import Curve, Scheme, known_algorithm

_PROOFS = """
    SELECT value, key_name, check_value, mechanism, scheme, curve, public_key, wrapped,
        unwrapped_without
    FROM key_proofs ORDER BY created_at, value
"""

NEW_PROOFS = """
    SELECT * FROM unnest(:values::bytea[], :key_names::varchar[], :check_values::bytea[],
        :mechanisms::varchar[], :schemes::varchar[], :curves::varchar[], :public_keys::bytea[],
        :wrapped::bytea[], :without::varchar[])
        AS new_proof (value, key_name, check_value, mechanism, scheme, curve, public_key, wrapped,
            unwrapped_without)
"""
"""A query of the rows in ``proof_rows``."""

COLUMNS = """
    value, key_name, check_value, mechanism, scheme, curve, public_key, wrapped, unwrapped_without
"""

INSERT_PROOFS = f"""
    INSERT INTO key_proofs ({COLUMNS}) {NEW_PROOFS} ON CONFLICT (value) DO NOTHING
    RETURNING value
"""


def proof_rows(
    proofs: Mapping[str, KeyProof], check_values: Mapping[str, bytes]
) -> dict[str, list[Any]]:
    """Return the parameters of ``INSERT_PROOFS``. Both mappings are by the name of the key."""
    algorithms = [proof.algorithm for proof in proofs.values()]
    return {
        "values": [proof.value for proof in proofs.values()],
        "key_names": list(proofs),
        "check_values": [check_values[name] for name in proofs],
        "mechanisms": [proof.mechanism for proof in proofs.values()],
        "schemes": [None if each is None else each.scheme.value for each in algorithms],
        "curves": [None if each is None else each.curve.value for each in algorithms],
        "public_keys": [proof.public_key for proof in proofs.values()],
        "wrapped": [proof.wrapped for proof in proofs.values()],
        "without": [",".join(proof.unwrapped_without) for proof in proofs.values()],
    }


async def stored_proofs(pool: Pool) -> Mapping[bytes, list[tuple[str, KeyProof]]]:
    """Return the names and proofs of the keys, by the check value of the key, oldest first.

    A damaged row is left out, and a row whose name is not that of its contents: its audit record is
    about another proof.
    """
    found: dict[bytes, list[tuple[str, KeyProof]]] = defaultdict(list)
    for row in await pool.rows(_PROOFS):
        try:
            algorithm = (
                None
                if row.scheme is None
                else known_algorithm(Scheme(row.scheme), Curve(row.curve))
            )
        except ValueError:
            continue
        proof = KeyProof(
            mechanism=row.mechanism,
            algorithm=algorithm,
            public_key=row.public_key,
            wrapped=row.wrapped,
            unwrapped_without=[name for name in row.unwrapped_without.split(",") if name],
        )
        if proof.value == row.value:
            found[row.check_value].append((row.key_name, proof))
    return found
